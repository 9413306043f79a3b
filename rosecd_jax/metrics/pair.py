"""Scores of one file, and the treatment of undefined scores."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rosecd_jax.metrics.checks import checked
from rosecd_jax.metrics.measures import MEASURES, USUAL, families
from rosecd_jax.metrics.perceptual import pesq_is_installed


class Scores(NamedTuple):
    """The usual scores of one file: PESQ (0.999 to 4.644), ESTOI (up to 1), and the energy ratios in dB."""

    pesq: float
    estoi: float
    si_sdr: float
    si_sir: float
    si_sar: float


WORST = Scores(*(MEASURES[name].worst for name in USUAL))
"""Scores of an estimate whose scores are undefined: the lowest possible PESQ and ESTOI, and energy ratios of
-50 dB, about those of unrelated noise, to which lower ratios are clipped."""


def measure(
    names: Sequence[str], clean: ArrayLike, noisy: ArrayLike, estimate: ArrayLike, sample_rate: int
) -> dict[str, float]:
    """Compute scores (keys of `MEASURES`) of an estimate of `clean` made from `noisy`.

    A score that is undefined due to the estimate (silent, constant, or not finite) is the measure's worst; a
    score that is undefined for the clean file itself (silent, constant, too short, without speech, or, for
    SI-SIR and SI-SAR, equal to `noisy`) is nan for any estimate, and so is excluded for all systems. Scores
    are clipped to the measure's limits.

    Args:
      names: names of measures.
      clean, noisy, estimate: float [samples], of the same length.
      sample_rate: Hz.

    Raises:
      ValueError: if the waves are not 1-D or differ in length, or a measure is unknown.
      ImportError: if a measure's package is not installed.
    """
    clean, noisy, estimate = checked(clean, noisy, estimate)
    finite = bool(np.isfinite(estimate).all())
    if not estimate.size or (finite and not np.ptp(estimate)):
        estimate = np.zeros_like(estimate)  # treat any constant as silence
    if not clean.size or not np.ptp(clean):
        clean = np.zeros_like(clean)
    scores: dict[str, float] = {}
    for family in families(names):
        values = family.function(clean, noisy, estimate, sample_rate) if finite else ()
        found = list(values) or [math.nan] * len(family.measures)
        if any(map(math.isnan, found)):
            at_best = family.function(clean, noisy, clean, sample_rate)  # nan: undefined for the clean file
            worst = [one.worst for one in family.measures]
            found = [
                least if math.isnan(value) and not math.isnan(best) else value
                for value, best, least in zip(found, at_best, worst, strict=True)
            ]
        for one, value in zip(family.measures, found, strict=True):
            low, high = sorted((one.worst, one.best))
            scores[one.name] = float(np.clip(value, low, high))
    return {name: scores[name] for name in names}


def evaluate_pair(clean: ArrayLike, noisy: ArrayLike, estimate: ArrayLike, sample_rate: int) -> Scores:
    """Compute the usual scores of an estimate of `clean` made from `noisy`, each [samples].

    Undefined scores are treated as by `measure`. PESQ is nan if its package is not installed.
    """
    names = [name for name in USUAL if name != "pesq" or pesq_is_installed()]
    return Scores(**{"pesq": math.nan, **measure(names, clean, noisy, estimate, sample_rate)})
