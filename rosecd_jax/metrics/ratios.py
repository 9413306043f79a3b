"""Energy ratios in dB: speech to distortion, to leftover noise, to artifacts."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rosecd_jax.metrics.checks import Wave, audible, checked, frames

SEGMENT_SECONDS = 0.03
SEGMENT_RANGE = -10.0, 35.0  # dB


class EnergyRatios(NamedTuple):
    """Scale-invariant ratios in dB: speech to distortion, to leftover noise, to artifacts."""

    si_sdr: float
    si_sir: float
    si_sar: float


def si_sdr(reference: ArrayLike, estimate: ArrayLike) -> float:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al. 2019) of [samples].

    Means are not subtracted: a constant offset counts as distortion. (`losses.neg_si_sdr` subtracts both
    means, as the authors' loss does; for recordings, whose offsets are small, both agree.)

    Returns inf for a perfect estimate (a rescaled one may stop near 300 dB), nan if either wave is silent.
    """
    reference, estimate = checked(reference, estimate)
    target = _project(estimate, reference)
    return _decibels(target, estimate - target)


def energy_ratios(reference: ArrayLike, estimate: ArrayLike, noise: ArrayLike) -> EnergyRatios:
    """Split the estimate's error into leftover noise and artifacts (Le Roux et al. 2019); all are [samples].

    `noise` is the noise added to the reference. Target and leftover noise are the estimate's separate
    projections on reference and noise, as in the SGMSE papers; the artifacts are the rest. A ratio is inf if
    its error is zero, nan if reference or estimate is silent; SI-SIR and SI-SAR also if noise is.
    """
    reference, estimate, noise = checked(reference, estimate, noise)
    target, leftover = _project(estimate, reference), _project(estimate, noise)
    error = estimate - target
    return EnergyRatios(
        si_sdr=_decibels(target, error),
        si_sir=_decibels(target, leftover),
        si_sar=_decibels(target, error - leftover),
    )


def segmental_snr(reference: ArrayLike, estimate: ArrayLike, sample_rate: int) -> float:
    """Segmental SNR in dB of [samples]: frames of 30 ms with 75 % overlap, each clipped to -10 to 35 dB.

    As in Loizou's code (Speech Enhancement, 2007); it is not scale-invariant. Returns nan if the reference
    is silent, either wave is not finite, or both are shorter than a frame.
    """
    reference, estimate = checked(reference, estimate)
    size = round(SEGMENT_SECONDS * sample_rate)
    if not audible(reference) or not np.isfinite(estimate).all() or reference.size < size:
        return math.nan
    window = np.hanning(size + 2)[1:-1]
    signal, error = (frames(wave, size, size // 4) * window for wave in (reference, reference - estimate))
    tiny, last = np.finfo(np.float64).eps, max(1, len(signal) - 1)  # Loizou drops the last frame
    ratios = np.sum(signal**2, axis=1) / (np.sum(error**2, axis=1) + tiny) + tiny
    return float(np.mean(np.clip(10 * np.log10(ratios), *SEGMENT_RANGE)[:last]))


def _project(wave: Wave, onto: Wave) -> Wave:
    with np.errstate(all="ignore"):  # nan on silence, intentionally
        return np.divide(wave @ onto, onto @ onto) * onto


def _decibels(wanted: Wave, unwanted: Wave) -> float:
    with np.errstate(all="ignore"):  # inf without error, nan on silence, intentionally
        return float(10 * np.log10(np.divide(wanted @ wanted, unwanted @ unwanted)))
