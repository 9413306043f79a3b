"""Paired recordings: found, checked, made (`synthetic`), prepared for TFDS (`builders`), read in batches."""

from rosecd_jax.data.loader import LoaderConfig, open_source, training_batches
from rosecd_jax.data.pairs import DataError, PairedFiles
from rosecd_jax.data.synthetic import SyntheticCorpus, write_corpus

__all__ = [
    "DataError",
    "LoaderConfig",
    "PairedFiles",
    "SyntheticCorpus",
    "open_source",
    "training_batches",
    "write_corpus",
]
