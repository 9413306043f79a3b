"""Measures without a clean reference: predicted opinions, level, clipped samples, silenced frames."""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rosecd_jax.extras import extra
from rosecd_jax.metrics.checks import Wave, audible, checked, frames
from rosecd_jax.metrics.perceptual import at_rate

DNSMOS_RATE = 16000  # Hz
SILENCED_DB = 40.0  # a frame this far below the input's counts as silenced
SOUND_DB = -60.0  # re full scale: frames of the input below have nothing to silence


class Opinions(NamedTuple):
    """Predicted mean opinion scores, 1 to 5 (P.835: overall, signal, background; P.808: overall)."""

    ovrl: float
    sig: float
    bak: float
    p808: float


def dnsmos(wave: ArrayLike, sample_rate: int) -> Opinions:
    """DNSMOS P.835 and P.808 (Reddy et al. 2021, 2022) of [samples], resampled to 16 kHz; needs no reference.

    Samples beyond full scale, which the package refuses, are clipped as in playback. Returns nan for silence,
    which the models rate 1.8, and for a wave that is not finite.
    """
    (wave,) = checked(wave)
    if not audible(wave) or not np.ptp(wave):
        return Opinions(math.nan, math.nan, math.nan, math.nan)
    with extra("mos", "DNSMOS"):
        from speechmos import dnsmos as package
    found: Any = package.run(np.clip(at_rate(wave, sample_rate, DNSMOS_RATE), -1, 1), sr=DNSMOS_RATE)
    return Opinions(*(float(found[f"{name}_mos"]) for name in Opinions._fields))


def level_change(noisy: ArrayLike, estimate: ArrayLike) -> float:
    """RMS level of the estimate relative to the input in dB; nan if either is silent or not finite."""
    noisy, estimate = checked(noisy, estimate)
    if not audible(noisy, estimate):
        return math.nan
    return float(20 * np.log10(np.sqrt(np.mean(estimate**2)) / np.sqrt(np.mean(noisy**2))))


def clipped_share(wave: ArrayLike) -> float:
    """Share of samples at or beyond full scale, 0 to 1; nan for an empty or non-finite wave."""
    (wave,) = checked(wave)
    if not wave.size or not np.isfinite(wave).all():
        return math.nan
    return float(np.mean(np.abs(wave) >= 1 - 1 / 2**15))


def silenced_share(noisy: ArrayLike, estimate: ArrayLike, sample_rate: int) -> float:
    """Share of 32-ms frames, 0 to 1, in which the estimate lies 40 dB or more below the input.

    Frames in which the input is below -60 dBFS are excluded; nan if none remains, or a wave is not finite.
    """
    noisy, estimate = checked(noisy, estimate)
    if not np.isfinite(noisy).all() or not np.isfinite(estimate).all():
        return math.nan
    size = round(0.032 * sample_rate)
    before, after = (_levels(wave, size) for wave in (noisy, estimate))
    sound = before > SOUND_DB
    return float(np.mean(after[sound] <= before[sound] - SILENCED_DB)) if sound.any() else math.nan


def _levels(wave: Wave, size: int) -> Wave:
    """Level of each frame in dB of full scale."""
    return 10 * np.log10(np.mean(frames(wave, size, size) ** 2, axis=1) + 1e-20)
