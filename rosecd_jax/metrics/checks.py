"""Checks shared by all measures."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Wave = NDArray[np.float64]


def checked(*waves: ArrayLike) -> list[Wave]:
    """Convert waves to float64.

    Raises:
      ValueError: if they are not 1-D, or differ in length.
    """
    found = [np.asarray(wave, np.float64) for wave in waves]
    if any(wave.ndim != 1 for wave in found):
        shapes = ", ".join(str(wave.shape) for wave in found)
        raise ValueError(f"waves have shapes {shapes}; give one channel at a time, [samples]")
    if len({len(wave) for wave in found}) > 1:
        lengths = ", ".join(str(len(wave)) for wave in found)
        raise ValueError(f"waves have {lengths} samples; cut or align them to one length")
    return found


def audible(*waves: Wave) -> bool:
    """Return whether every wave has sound and only finite samples."""
    return all(bool(wave.any() and np.isfinite(wave).all()) for wave in waves)


def frames(wave: Wave, size: int, hop: int) -> Wave:
    """Cut [samples] into overlapping frames [frames, size], as many as fit."""
    if wave.size < size:
        return np.zeros((0, size))
    return np.lib.stride_tricks.sliding_window_view(wave, size)[::hop]
