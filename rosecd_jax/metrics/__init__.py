"""Measures of an enhanced wave against the clean one, in NumPy on the host; waves are 1-D [samples].

A measure that is undefined for a pair of waves (silence, too short, NaN samples) is nan, so that one file
does not end the evaluation of a folder. `measure` and `evaluate_pair` resolve this in the same way for all
systems: nan if the reference is the cause, the worst score if the estimate is. Waves that differ in length or
are not 1-D raise ValueError.
"""

from rosecd_jax.metrics.measures import BEST_RATIO, FAMILIES, MEASURES, USUAL, Family, Measure, families
from rosecd_jax.metrics.pair import WORST, Scores, evaluate_pair, measure
from rosecd_jax.metrics.perceptual import estoi, pesq, pesq_is_installed, pesq_narrow, stoi, visqol
from rosecd_jax.metrics.phonemes import phoneme_similarity
from rosecd_jax.metrics.ratios import EnergyRatios, energy_ratios, segmental_snr, si_sdr
from rosecd_jax.metrics.reference_free import (
    Opinions,
    clipped_share,
    dnsmos,
    level_change,
    silenced_share,
)
from rosecd_jax.metrics.spectral import Composite, composite, log_spectral_distance

__all__ = [
    "BEST_RATIO",
    "FAMILIES",
    "MEASURES",
    "USUAL",
    "WORST",
    "Composite",
    "EnergyRatios",
    "Family",
    "Measure",
    "Opinions",
    "Scores",
    "clipped_share",
    "composite",
    "dnsmos",
    "energy_ratios",
    "estoi",
    "evaluate_pair",
    "families",
    "level_change",
    "log_spectral_distance",
    "measure",
    "pesq",
    "pesq_is_installed",
    "pesq_narrow",
    "phoneme_similarity",
    "segmental_snr",
    "si_sdr",
    "silenced_share",
    "stoi",
    "visqol",
]
