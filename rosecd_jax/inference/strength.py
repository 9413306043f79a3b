"""How much of the input stays in the output."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["blend", "wet_share"]


def wet_share(strength: float = 1.0, attenuation_limit: float | None = None) -> float:
    """The share of the model's output in what is given; the rest of it is the input.

    Args:
      strength: 0 leaves the input as it is, 1 gives the model's output.
      attenuation_limit: dB by which noise that the model removes is lowered at most; None for no limit.

    Raises:
      ValueError: if the strength is not from 0 to 1, or the limit is negative or not a number.
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"strength is {strength}, it has to be from 0 (the input) to 1 (the model's output)")
    if attenuation_limit is None:
        return strength
    if not attenuation_limit >= 0:
        raise ValueError(f"attenuation_limit is {attenuation_limit} dB, it has to be 0 or more")
    return strength * (1 - 10 ** (-attenuation_limit / 20))


def blend(enhanced: NDArray[np.float32], noisy: NDArray[np.float32], wet: float) -> NDArray[np.float32]:
    """wet · enhanced + (1 − wet) · noisy, float32 of one shape, aligned; exactly one of them at 1 and 0."""
    if wet == 1:
        return enhanced
    return (wet * enhanced + (1 - wet) * noisy).astype(np.float32)
