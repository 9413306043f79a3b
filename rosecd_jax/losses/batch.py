"""What a training step is given."""

from typing import NamedTuple

import jax


class Batch(NamedTuple):
    """Compressed complex spectrograms of paired crops, complex64 [B, F, T].

    Attributes:
      x0: clean speech.
      y: noisy speech.
    """

    x0: jax.Array
    y: jax.Array
