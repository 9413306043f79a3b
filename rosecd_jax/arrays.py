"""jaxtyping annotations of recurring array shapes. Only the tests check them.

Within a call, an axis name stands for one size: two arguments annotated "B F T" have the same shape.
"""

from typing import TYPE_CHECKING

import jax
import numpy as np
from jaxtyping import Complex64, Float32

__all__ = ["Array", "Spectrogram", "State", "Times"]

if TYPE_CHECKING:
    Array = jax.Array
else:
    Array = jax.Array | np.ndarray | np.generic
"""A JAX array. Where types are checked, NumPy arrays are accepted, too, as by JAX's own functions."""

Spectrogram = Complex64[Array, "B F T"]
"""A batch of compressed spectrograms, [item, bin, frame]."""
State = Complex64[Array, "B *rest"]
"""State x_t of a process, of any shape; with a scalar time, it may be one item without a batch axis."""
Times = Float32[Array, " B"] | Float32[Array, ""]
"""A time for each item, or one for all."""
