"""How noisy/clean pairs are made: speech plus noise at a signal-to-noise ratio. Pure numpy, no files."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["fit_length", "mix_at_snr"]

PEAK = 0.99  # a louder mix is turned down to this, just below full scale


def mix_at_snr(
    clean: ArrayLike, noise: ArrayLike, snr_db: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Add noise, scaled so that the whole utterance has the signal-to-noise ratio `snr_db`.

    The ratio is 10 log10(P_clean / P_noise) in dB, where a power P is the mean of the squared samples over
    the whole array, pauses included. Full scale is [-1, 1]: if the mix or the clean wave peaks above 0.99,
    both are turned down by the same factor, which keeps the ratio.

    Args:
      clean, noise: real numbers of the same shape, [samples] or [channels, samples].
      snr_db: dB, finite.

    Returns:
      (clean, noisy), float32 of that shape; noisy - clean is the scaled noise.

    Raises:
      ValueError: if the shapes differ, `snr_db` is not finite, or one of the waves is empty, silent or not
        finite.
    """
    clean, noise = np.asarray(clean, np.float64), np.asarray(noise, np.float64)
    if clean.shape != noise.shape:
        raise ValueError(f"clean and noise need the same shape, got {clean.shape} and {noise.shape}")
    if not np.isfinite(snr_db):
        raise ValueError(f"snr_db has to be finite, got {snr_db}")
    gain = np.sqrt(_power(clean, "clean") / _power(noise, "noise")) * 10 ** (-snr_db / 20)
    noisy = clean + gain * noise
    scale = min(1.0, PEAK / max(np.abs(noisy).max(), np.abs(clean).max()))
    return (scale * clean).astype(np.float32), (scale * noisy).astype(np.float32)


def fit_length(noise: ArrayLike, samples: int, generator: np.random.Generator) -> NDArray[np.floating]:
    """Make noise exactly `samples` long: a random crop, or repeated from a random start when it is too short.

    Args:
      noise: [samples] or [channels, samples] of any length but zero.

    Returns:
      The same dtype and channels, [..., samples].

    Raises:
      ValueError: if the noise has no samples.
    """
    noise = np.asarray(noise)
    length = noise.shape[-1]
    if length == 0:
        raise ValueError("the noise has no samples")
    start = generator.integers(length if length < samples else length - samples + 1)
    return noise[..., (start + np.arange(samples)) % length]


def _power(wave: NDArray[np.float64], name: str) -> float:
    power = float(np.mean(np.square(wave))) if wave.size else 0.0
    if not (np.isfinite(power) and power > 0):
        problem = "silent" if power == 0 else "not finite"
        raise ValueError(f"{name} is {problem}: no signal-to-noise ratio can be set")
    return power
