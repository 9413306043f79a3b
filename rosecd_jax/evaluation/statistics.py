"""Means of scores with confidence intervals, and paired differences of systems."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

RESAMPLES = 10_000
CONFIDENCE = 0.95
LEAST_ERROR = 0.1
FEWEST = 5  # minimum number of files for resampling
CHUNK = 1 << 22  # resampled values in memory at once


class Interval(NamedTuple):
    """Mean over files, 95 % interval, standard deviation and number of files; nan if undefined."""

    mean: float
    low: float
    high: float
    std: float
    files: int


class Difference(NamedTuple):
    """Differences of a system's scores from the baseline's, over files.

    Attributes:
      mean, low, high: mean of the differences, and its 95 % interval.
      better, worse: shares of files that are better and worse, 0 to 1.
      files: number of files for which both have a score.
    """

    mean: float
    low: float
    high: float
    better: float
    worse: float
    files: int


def mean_interval(values: ArrayLike, seed: int = 0) -> Interval:
    """Average scores [files], with a 95 % interval by the bootstrap-t (Efron and Tibshirani 1993, 12.5).

    Each resample of the files is studentized by its own standard error, which keeps the interval's coverage
    for a dozen files, where percentiles of resampled means are too narrow. Below five files, too few for
    resampling, it is Student's t interval. nan values are excluded; a single file has no interval, and equal
    values have one of zero width.
    """
    known = np.asarray(values, np.float64)
    known = known[~np.isnan(known)]
    if known.size == 0:
        return Interval(np.nan, np.nan, np.nan, np.nan, 0)
    mean, std = float(known.mean()), float(known.std())
    if known.size == 1:
        return Interval(mean, np.nan, np.nan, std, 1)
    error = float(known.std(ddof=1) / np.sqrt(known.size))
    if not error:
        return Interval(mean, mean, mean, std, known.size)
    tails = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
    few = known.size < FEWEST
    low, high = stats.t.ppf(tails, known.size - 1) if few else np.quantile(_studentized(known, seed), tails)
    return Interval(mean, float(mean - high * error), float(mean - low * error), std, known.size)


def _studentized(values: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """Return (resampled mean - mean) / resampled standard error [resamples].

    The error of a resample is at least a tenth of the original one, so that resamples of nearly equal values,
    frequent where one file differs from all others, don't widen the interval without bound.
    """
    generator = np.random.default_rng(seed)
    least = LEAST_ERROR * values.std(ddof=1) / np.sqrt(values.size)
    found = []
    for count in _chunks(values.size):
        drawn = values[generator.integers(values.size, size=(count, values.size))]
        errors = drawn.std(axis=1, ddof=1) / np.sqrt(values.size)
        found.append((drawn.mean(axis=1) - values.mean()) / np.maximum(errors, least))
    return np.concatenate(found)


def _chunks(size: int) -> list[int]:
    """Divide the resamples into chunks."""
    most = max(1, CHUNK // size)
    return [min(most, RESAMPLES - start) for start in range(0, RESAMPLES, most)]


def paired_difference(
    system: ArrayLike, baseline: ArrayLike, better: str = "higher", seed: int = 0
) -> Difference:
    """Compare a system's scores [files] with a baseline's on the same files, in the same order.

    `better` is the direction of an improvement, "higher" or "lower"; for "" no file counts as better or
    worse. A file is excluded if one of the two has no score for it.
    """
    difference = np.asarray(system, np.float64) - np.asarray(baseline, np.float64)
    interval = mean_interval(difference, seed)
    known = difference[~np.isnan(difference)]
    if not known.size:
        return Difference(np.nan, np.nan, np.nan, np.nan, np.nan, 0)
    sign = {"higher": 1, "lower": -1, "": 0}[better]
    shares = float(np.mean(sign * known > 0)), float(np.mean(sign * known < 0))
    return Difference(interval.mean, interval.low, interval.high, *shares, known.size)


def snr_group(snr: float | None, edges: Sequence[float] = (-5.0, 0.0, 5.0, 10.0, 15.0, 20.0)) -> str:
    """Return the range of input SNR, in dB, of a file; "" if its SNR is unknown."""
    if snr is None or np.isnan(snr):
        return ""
    place = int(np.searchsorted(edges, snr, side="right"))
    if place == 0:
        return f"below {edges[0]:g} dB"
    if place == len(edges):
        return f"{edges[-1]:g} dB and above"
    return f"{edges[place - 1]:g} to {edges[place]:g} dB"
