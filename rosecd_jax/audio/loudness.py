"""Loudness according to ITU-R BS.1770-4, for one channel at 48 kHz."""

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["SAMPLE_RATE", "loudness"]

SAMPLE_RATE = 48_000  # Hz, of the recommendation's filters
FILTERS = (  # b0 b1 b2 a0 a1 a2: the effect of the head, then the weighting of low frequencies
    (1.53512485958697, -2.69169618940638, 1.19839281085285, 1.0, -1.69065929318241, 0.73248077421585),
    (1.0, -2.0, 1.0, 1.0, -1.99004745483398, 0.99007225036621),
)
BLOCK, STEP = 19_200, 4_800  # samples; 400 ms with 75 % overlap
SILENT, QUIETER = -70.0, -10.0  # LUFS of the absolute gate, LU of the relative one


def loudness(wave: ArrayLike) -> float:
    """Measure the integrated loudness of a wave at 48 kHz, [samples], in LUFS.

    It is -inf if no block of 400 ms is above -70 LUFS, as in waves shorter than a block.
    """
    from scipy.signal import sosfilt

    heard = np.square(np.asarray(sosfilt(np.array(FILTERS), np.asarray(wave, np.float64))))
    sums = np.concatenate([[0.0], np.cumsum(heard)])
    starts = np.arange(0, heard.size - BLOCK + 1, STEP)
    powers = np.maximum((sums[starts + BLOCK] - sums[starts]) / BLOCK, 0)
    powers = powers[_levels(powers) > SILENT]
    if not powers.size:
        return -np.inf
    kept = powers[_levels(powers) > _levels(powers.mean()) + QUIETER]
    return float(_levels(kept.mean()))


def _levels(powers: ArrayLike) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.asarray(10 * np.log10(powers) - 0.691)
