"""Spectral distances, and the composite measures based on them."""

import math
from functools import cache
from typing import NamedTuple

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike

from rosecd_jax.metrics.checks import Wave, audible, checked, frames
from rosecd_jax.metrics.perceptual import PESQ_RATE, at_rate, pesq
from rosecd_jax.metrics.ratios import segmental_snr

FLOOR_DB = 80.0  # below the reference's strongest bin
FRAME_SECONDS = 0.03
KEPT = 0.95  # share of frames, with the least distortion, that Loizou's code averages
LPC_ORDER = 16
PEAK_DB, LOCAL_PEAK_DB = 20.0, 1.0  # K_max and K_locmax of Klatt's weights

# Hz: centers and widths of the 25 critical bands of the weighted spectral slope.
CENTERS = np.array([
    *(50, 120, 190, 260, 330, 400, 470, 540, 617.372, 703.378, 798.717, 904.128, 1020.38, 1148.30),
    *(1288.72, 1442.54, 1610.70, 1794.16, 1993.93, 2211.08, 2446.71, 2701.97, 2978.04, 3276.17, 3597.63),
])  # fmt: skip
WIDTHS = np.array([
    *(70, 70, 70, 70, 70, 70, 70, 77.3724, 86.0056, 95.3398, 105.411, 116.256, 127.914, 140.423),
    *(153.823, 168.154, 183.457, 199.776, 217.153, 235.631, 255.255, 276.072, 298.126, 321.465, 346.136),
])  # fmt: skip


class Composite(NamedTuple):
    """Predicted opinion scores, 1 to 5, of signal distortion, background, and overall quality."""

    csig: float
    cbak: float
    covl: float


def log_spectral_distance(reference: ArrayLike, estimate: ArrayLike, sample_rate: int) -> float:
    """Log-spectral distance in dB of [samples]: per frame the RMS over frequency, then the mean over frames.

    Hann windows of 32 ms every 8 ms; both spectra have a floor 80 dB below the reference's strongest bin.
    Returns nan if the reference is silent, either wave is not finite, or both are shorter than a frame.
    """
    reference, estimate = checked(reference, estimate)
    size, hop = round(0.032 * sample_rate), round(0.008 * sample_rate)
    if not audible(reference) or not np.isfinite(estimate).all() or reference.size < size:
        return math.nan
    window = np.hanning(size + 1)[:-1]
    powers = [np.abs(np.fft.rfft(frames(wave, size, hop) * window)) ** 2 for wave in (reference, estimate)]
    floor = max(powers[0].max() * 10 ** (-FLOOR_DB / 10), np.finfo(np.float64).tiny)
    one, other = (10 * np.log10(np.maximum(power, floor)) for power in powers)
    return float(np.mean(np.sqrt(np.mean((one - other) ** 2, axis=1))))


def composite(
    reference: ArrayLike, estimate: ArrayLike, sample_rate: int, pesq_score: float | None = None
) -> Composite:
    """CSIG, CBAK and COVL (Hu and Loizou 2008, Table V) of [samples], with wide-band PESQ at 16 kHz.

    Where the paper and Loizou's `composite.m` differ, this follows `composite.m`: frames of 30 ms with 75 %
    overlap; a log-likelihood ratio without a bound, averaged, like the weighted spectral slope, over the 95 %
    of frames with the least distortion. `pesq_score` avoids recomputing PESQ. Returns nan if PESQ is nan.
    """
    reference, estimate = checked(reference, estimate)
    score = pesq(reference, estimate, sample_rate) if pesq_score is None else pesq_score
    if math.isnan(score) or not audible(reference, estimate):
        return Composite(math.nan, math.nan, math.nan)
    one, other = (at_rate(wave, sample_rate, PESQ_RATE) for wave in (reference, estimate))
    llr, wss = likelihood_ratio(one, other, PESQ_RATE), spectral_slope(one, other, PESQ_RATE)
    segments = segmental_snr(one, other, PESQ_RATE)
    found = (
        3.093 - 1.029 * llr + 0.603 * score - 0.009 * wss,
        1.634 + 0.478 * score - 0.007 * wss + 0.063 * segments,
        1.594 + 0.805 * score - 0.512 * llr - 0.007 * wss,
    )
    return Composite(*(float(np.clip(value, 1, 5)) for value in found))


def likelihood_ratio(reference: Wave, estimate: Wave, sample_rate: int) -> float:
    """Log-likelihood ratio of linear predictors of order 16, over the best 95 % of frames."""
    lags, predictors = [], []
    for wave in (reference, estimate):
        spectrum = np.abs(np.fft.rfft(_windowed(wave, sample_rate), 2 * round(FRAME_SECONDS * sample_rate)))
        lag = np.fft.irfft(spectrum**2)[:, : LPC_ORDER + 1]
        lag[:, 0] += np.finfo(np.float64).eps
        lags.append(lag)
        predictors.append(np.array([_predictor(row) for row in lag]))
    matrix = lags[0][:, np.abs(np.subtract.outer(*2 * [np.arange(LPC_ORDER + 1)]))]
    errors = [np.einsum("ni,nij,nj->n", row, matrix, row) for row in predictors]
    ratios = np.log(np.maximum(errors[1], 1e-300) / np.maximum(errors[0], 1e-300))
    return _best(ratios)


def spectral_slope(reference: Wave, estimate: Wave, sample_rate: int) -> float:
    """Weighted spectral slope distance (Klatt 1982) in 25 critical bands, best 95 % of frames."""
    size = round(FRAME_SECONDS * sample_rate)
    points = 1 << (2 * size - 1).bit_length()
    levels = []
    for wave in (reference, estimate):
        power = np.abs(np.fft.rfft(_windowed(wave, sample_rate), points)[:, : points // 2]) ** 2
        levels.append(10 * np.log10(np.maximum(power @ _bands(points, sample_rate).T, 1e-10)))
    slopes = [np.diff(level) for level in levels]
    weight = sum(map(_slope_weights, levels)) / 2
    return _best(np.sum(weight * (slopes[0] - slopes[1]) ** 2, axis=1) / np.sum(weight, axis=1))


def _slope_weights(levels: Wave) -> Wave:
    """Compute Klatt's weights [frames, 24]: small far below the frame's peak and the nearest local peak.

    Searching upwards, the peak is taken one band before the top, as in Loizou's code.
    """
    lower, slopes = levels[:, :-1], np.diff(levels)
    rises = slopes > 0
    up, down = lower.copy(), lower.copy()
    for band in reversed(range(lower.shape[1] - 1)):
        up[:, band] = np.where(rises[:, band + 1], up[:, band + 1], lower[:, band])
    for band in range(1, lower.shape[1]):
        down[:, band] = np.where(rises[:, band - 1], lower[:, band], down[:, band - 1])
    nearest = np.where(rises, up, down)
    peak = PEAK_DB / (PEAK_DB + levels.max(axis=1, keepdims=True) - lower)
    return peak * LOCAL_PEAK_DB / (LOCAL_PEAK_DB + nearest - lower)


@cache
def _bands(points: int, sample_rate: int) -> Wave:
    """Return Gaussian filters [25, points / 2] around the critical bands, with a floor at -30 dB."""
    half = points // 2
    centers, widths = (2 * half * row / sample_rate for row in (CENTERS, WIDTHS))
    scale = np.log(WIDTHS[0] / WIDTHS)
    distances = (np.arange(half) - np.floor(centers)[:, None]) / widths[:, None]
    bands = np.exp(-11 * distances**2 + scale[:, None])
    return np.where(bands > math.exp(-30 / (2 * 2.303)), bands, 0.0)


def _windowed(wave: Wave, sample_rate: int) -> Wave:
    """Return frames [frames, size] under a Hann window, without the last one, which is often partial."""
    size = round(FRAME_SECONDS * sample_rate)
    found = frames(wave + np.finfo(np.float64).eps, size, size // 4)
    return found[: max(1, len(found) - 1)] * np.hanning(size + 2)[1:-1]


def _predictor(lags: Wave) -> Wave:
    """Compute the coefficients 1, -a_1, ... of a linear predictor from autocorrelations."""
    return np.r_[1.0, -scipy.linalg.solve_toeplitz(lags[:-1], lags[1:])]


def _best(values: Wave) -> float:
    """Average the smallest 95 %."""
    return float(np.mean(np.sort(values)[: max(1, round(KEPT * values.size))]))
