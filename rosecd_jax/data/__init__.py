"""Training data: paired recordings, TFDS data sets, the embedded corpus, on-the-fly mixing, and batches."""

from rosecd_jax.data.corpus.synthetic import SyntheticCorpus, write_corpus
from rosecd_jax.data.loader import LoaderConfig, open_source, training_batches
from rosecd_jax.data.pairs import DataError, PairedFiles

__all__ = [
    "DataError",
    "LoaderConfig",
    "PairedFiles",
    "SyntheticCorpus",
    "open_source",
    "training_batches",
    "write_corpus",
]
