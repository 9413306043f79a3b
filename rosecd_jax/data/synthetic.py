"""Former location of `rosecd_jax.data.corpus.synthetic`."""

from rosecd_jax.data.corpus.synthetic import SyntheticCorpus, make_example, write_corpus

__all__ = ["SyntheticCorpus", "make_example", "write_corpus"]
