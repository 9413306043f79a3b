"""Types of arrays for annotations, by jaxtyping, for shapes that recur. Only the tests check them.

Within a call a name stands for one size: two arguments of "B F T" have the same shape.
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
"""An array of JAX; where types are checked, NumPy's are accepted, too, as by JAX's own functions."""

Spectrogram = Complex64[Array, "B F T"]
"""A batch of compressed spectrograms: item, bin, frame."""
State = Complex64[Array, "B *rest"]
"""A state of a process, of any shape; one item alone where the time is a scalar."""
Times = Float32[Array, " B"] | Float32[Array, ""]
"""A time for each item, or one for all."""
