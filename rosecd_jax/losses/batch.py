"""Batches of training data."""

from typing import NamedTuple

from rosecd_jax.arrays import Spectrogram


class Batch(NamedTuple):
    """Compressed complex spectrograms of paired crops.

    Attributes:
      x0: clean speech.
      y: noisy speech.
    """

    x0: Spectrogram
    y: Spectrogram
