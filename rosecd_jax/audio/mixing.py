"""Mixing of noisy/clean pairs: noise at an SNR, filters, rooms. Pure NumPy, no files."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["fit_length", "limit_band", "mix_at_snr", "noise_gain", "reverberate", "tilt"]

PEAK = 0.99  # louder mixes are scaled down to this, just below full scale


def mix_at_snr(
    clean: ArrayLike, noise: ArrayLike, snr_db: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Add noise, scaled so that the whole utterance has the signal-to-noise ratio `snr_db`.

    The ratio is 10 log10(P_clean / P_noise) in dB, where a power P is the mean of the squared samples over
    the whole array, pauses included. Full scale is [-1, 1]: if the mix or the clean wave peaks above 0.99,
    both are scaled down by the same factor, which keeps the ratio.

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
    noisy = clean + noise_gain(clean, noise, snr_db) * noise
    scale = min(1.0, PEAK / max(np.abs(noisy).max(), np.abs(clean).max()))
    return (scale * clean).astype(np.float32), (scale * noisy).astype(np.float32)


def noise_gain(clean: ArrayLike, noise: ArrayLike, snr_db: float) -> float:
    """Return the factor that scales noise to the power defined in `mix_at_snr`.

    Raises:
      ValueError: if `snr_db` is not finite, or one of the waves is empty, silent or not finite.
    """
    if not np.isfinite(snr_db):
        raise ValueError(f"snr_db has to be finite, got {snr_db}")
    clean, noise = np.asarray(clean, np.float64), np.asarray(noise, np.float64)
    return float(np.sqrt(_power(clean, "clean") / _power(noise, "noise")) * 10 ** (-snr_db / 20))


def fit_length(noise: ArrayLike, samples: int, generator: np.random.Generator) -> NDArray[np.floating]:
    """Fit noise to `samples`: a random crop, or a repetition from a random start if it is too short.

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


def tilt(wave: ArrayLike, decibels: float, sample_rate: int) -> NDArray[np.float64]:
    """Tilt a spectrum by `decibels` per octave; unchanged at 1 kHz, flat below 50 Hz.

    Args:
      wave: [samples].
      sample_rate: Hz.
    """
    return _filtered(wave, sample_rate, lambda hertz: (np.maximum(hertz, 50) / 1000) ** (decibels / 6.0206))


def limit_band(wave: ArrayLike, low: float, high: float, sample_rate: int) -> NDArray[np.float64]:
    """Keep the frequencies between `low` and `high` (Hz), with zero phase and slopes of 24 dB per octave.

    Args:
      wave: [samples].
      low, high: frequencies where the gain is 1/2; 0 for no limit.
    """

    def gain(hertz: NDArray[np.floating]) -> NDArray[np.floating]:
        with np.errstate(divide="ignore"):
            rise = 1 / (1 + (low / hertz) ** 4) if low else np.ones_like(hertz)
        return rise / (1 + (hertz / high) ** 4) if high else rise

    return _filtered(wave, sample_rate, gain)


def reverberate(
    wave: ArrayLike, response: ArrayLike, early_samples: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Convolve speech with a room's whole and early response, both aligned with the direct sound.

    Args:
      wave: dry, [samples].
      response: the room's impulse response, [any length]; its largest magnitude is the direct sound.
      early_samples: samples after the direct sound in which reflections are early; 0: direct sound only.

    Returns:
      (early, reverberant), [samples] each.

    Raises:
      ValueError: if the response is silent.
    """
    wave, response = np.asarray(wave, np.float64), np.asarray(response, np.float64)
    if not np.any(response):
        raise ValueError("an impulse response cannot be silent")
    direct = int(np.argmax(np.abs(response)))
    early = response[: direct + early_samples + 1].copy()
    if early_samples == 0:
        early[:direct] = 0
    return _convolved(wave, early, direct), _convolved(wave, response, direct)


def _convolved(wave: NDArray[np.float64], response: NDArray[np.float64], advance: int) -> NDArray[np.float64]:
    size = _fast_size(wave.size + response.size - 1)
    product = np.fft.irfft(np.fft.rfft(wave, size) * np.fft.rfft(response, size), size)
    return product[advance : advance + wave.size]


def _fast_size(least: int) -> int:
    """Return a size of at least `least` whose Fourier transform is fast."""
    from scipy import fft

    return int(fft.next_fast_len(least, real=True))  # pyright: ignore[reportArgumentType]


def _filtered(
    wave: ArrayLike, sample_rate: int, gain: Callable[[NDArray[np.floating]], NDArray[np.floating]]
) -> NDArray[np.float64]:
    """Multiply the spectrum of the zero-padded wave by a real gain, a function of the frequency in Hz."""
    wave = np.asarray(wave, np.float64)
    size = _fast_size(2 * wave.size)
    hertz = np.fft.rfftfreq(size, 1 / sample_rate)
    return np.fft.irfft(np.fft.rfft(wave, size) * gain(hertz), size)[: wave.size]


def _power(wave: NDArray[np.float64], name: str) -> float:
    power = float(np.mean(np.square(wave))) if wave.size else 0.0
    if not (np.isfinite(power) and power > 0):
        problem = "silent" if power == 0 else "not finite"
        raise ValueError(f"{name} is {problem}: no signal-to-noise ratio can be set")
    return power
