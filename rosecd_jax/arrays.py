"""Arrays in annotations: jaxtyping's types of the shapes that recur. Only the tests check them.

Within a call a name stands for one size: two arguments of "B F T" have one shape.
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
"""An array of JAX; where the types are checked, NumPy's are let through, as JAX's own functions let them."""

Spectrogram = Complex64[Array, "B F T"]
"""A batch of compressed spectrograms: item, bin, frame."""
State = Complex64[Array, "B *rest"]
"""A state of a process, of any shape; one item alone where the time is a scalar."""
Times = Float32[Array, " B"] | Float32[Array, ""]
"""A time for each item, or one for all."""
