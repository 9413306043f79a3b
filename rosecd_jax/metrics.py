"""How good an enhanced wave is, measured against the clean one. Host side, numpy; waves are 1-D [samples].

A measure that does not exist for a pair of waves (silence, too short, NaN samples) is nan, so that one odd
file does not end the evaluation of a folder. `evaluate_pair` decides what that means, the same for everything
that compares methods: nan where the reference is at fault, the worst there is (`WORST`) where the estimate
is. Waves of different lengths, or not 1-D, raise ValueError.
"""

import contextlib
import importlib.util
import math
import warnings
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rosecd_jax.extras import extra

__all__ = [
    "BEST_RATIO",
    "WORST",
    "EnergyRatios",
    "Scores",
    "energy_ratios",
    "estoi",
    "evaluate_pair",
    "pesq",
    "pesq_is_installed",
    "si_sdr",
    "stoi",
]

PESQ_RATE = 16000  # Hz: the one rate of wide-band PESQ
PESQ_SECONDS = 30
PESQ_SHORTER = 15  # seconds: 0.2 s of speech and of pause are the least that make an utterance
PESQ_UTTERANCES = 40  # the package pesq has room for 50; more of them crash the interpreter
STOI_SECONDS = 0.39  # pystoi needs 30 half-overlapping frames of 256 samples at 10 kHz


class EnergyRatios(NamedTuple):
    """Scale-invariant ratios in dB: speech to all that is wrong, to the noise left, to the artefacts made."""

    si_sdr: float
    si_sir: float
    si_sar: float


class Scores(NamedTuple):
    """All scores of one file: PESQ (0.999 to 4.644), ESTOI (up to 1), and the energy ratios in dB."""

    pesq: float
    estoi: float
    si_sdr: float
    si_sir: float
    si_sar: float


WORST = Scores(pesq=0.999, estoi=-1.0, si_sdr=-50.0, si_sir=-50.0, si_sar=-50.0)
"""What an estimate counts as that a score is not defined for: PESQ and ESTOI cannot be lower. The ratios
have no lowest value; unrelated noise has about -50 dB, and lower ones count as that."""
BEST_RATIO = 100.0
"""dB: what ratios count as that are higher, or infinite, so that a perfect file has its part in a mean."""


def pesq_is_installed() -> bool:
    """Whether there is the package pesq, which is compiled where it is installed."""
    return importlib.util.find_spec("pesq") is not None


def pesq(reference: ArrayLike, estimate: ArrayLike, sample_rate: int) -> float:
    """Wide-band PESQ (ITU-T P.862.2), 0.999 to 4.644, of [samples] at `sample_rate` Hz, resampled to 16 kHz.

    Beyond 30 s: the mean over equal pieces of at most 30 s, or of 15 s where these hold more utterances than
    the package has room for; pieces without speech are left out. Returns nan for silence, for less than
    1/4 s, and where PESQ finds no utterance. Raises ValueError as said above, and ImportError without the
    package pesq.
    """
    import soxr

    with extra("eval", "PESQ"):  # the package takes a C compiler
        from pesq import BufferTooShortError, NoUtterancesError
        from pesq import pesq as measure

    waves = np.stack(_check(reference, estimate))
    if not _audible(*waves):
        return math.nan
    if sample_rate != PESQ_RATE:
        waves = soxr.resample(waves.T, sample_rate, PESQ_RATE, quality="VHQ").T
    pieces = _pieces(waves, PESQ_SECONDS)
    if any(_utterances(piece[0]) > PESQ_UTTERANCES for piece in pieces):
        pieces = _pieces(waves, PESQ_SHORTER)
    scores = []
    for piece in pieces:
        try:
            with np.errstate(invalid="ignore"):  # the package scales by the peak: 0/0 where both pause
                scores.append(measure(PESQ_RATE, piece[0], piece[1], "wb"))
        except (BufferTooShortError, NoUtterancesError):
            continue
        except ValueError:  # the package stumbles over its own nan, the score of an estimate without energy
            return math.nan
    return float(np.mean(scores)) if scores else math.nan


def stoi(reference: ArrayLike, estimate: ArrayLike, sample_rate: int) -> float:
    """Short-time objective intelligibility (Taal et al. 2011), up to 1, of [samples] at `sample_rate` Hz.

    Returns nan for silence and where less than 0.4 s of speech is left once its pauses are cut out.
    """
    return _stoi(reference, estimate, sample_rate, extended=False)


def estoi(reference: ArrayLike, estimate: ArrayLike, sample_rate: int) -> float:
    """Extended STOI (Jensen and Taal 2016), up to 1; arguments and nan as in `stoi`."""
    return _stoi(reference, estimate, sample_rate, extended=True)


def si_sdr(reference: ArrayLike, estimate: ArrayLike) -> float:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al. 2019) of [samples].

    The waves are taken as they are: a constant offset counts as distortion. (`losses.neg_si_sdr` takes the
    mean off both, as the authors' loss does; for recordings, which have next to none, both are the same.)

    Returns inf for a perfect estimate (a rescaled one may stop near 300 dB), nan if either wave is silent.
    """
    reference, estimate = _check(reference, estimate)
    target = _project(estimate, reference)
    return _decibels(target, estimate - target)


def energy_ratios(reference: ArrayLike, estimate: ArrayLike, noise: ArrayLike) -> EnergyRatios:
    """Tell leftover noise from artefacts in the estimate's error (Le Roux et al. 2019); all are [samples].

    `noise` is what was added to the reference. Target and leftover noise are the estimate's projections on
    reference and on noise, each taken alone as in the SGMSE papers; the artefacts are the rest. A ratio is
    inf where its error is zero, nan if reference or estimate is silent; SI-SIR and SI-SAR also if noise is.
    """
    reference, estimate, noise = _check(reference, estimate, noise)
    target, leftover = _project(estimate, reference), _project(estimate, noise)
    error = estimate - target
    return EnergyRatios(
        si_sdr=_decibels(target, error),
        si_sir=_decibels(target, leftover),
        si_sar=_decibels(target, error - leftover),
    )


def evaluate_pair(clean: ArrayLike, noisy: ArrayLike, estimate: ArrayLike, sample_rate: int) -> Scores:
    """All scores of an estimate of `clean` made from `noisy`, each [samples] at `sample_rate` Hz.

    A score that the estimate makes undefined (it is silent, constant, or not finite) is that of `WORST`. A
    score that is undefined for the reference itself (silent, constant, too short, without speech, or, for
    SI-SIR and SI-SAR, equal to `noisy`) is nan, whatever the estimate. Ratios are kept within `WORST` and
    `BEST_RATIO`. PESQ is nan where its package is not installed.
    """
    clean, noisy, estimate = _check(clean, noisy, estimate)
    noise = noisy - clean
    if not estimate.size or (np.isfinite(estimate).all() and not np.ptp(estimate)):
        estimate = np.zeros_like(estimate)  # whatever constant it is
    if not clean.size or not np.ptp(clean):
        clean = np.zeros_like(clean)
    has_pesq = pesq_is_installed()
    found = Scores(
        pesq(clean, estimate, sample_rate) if has_pesq else math.nan,
        estoi(clean, estimate, sample_rate),
        *energy_ratios(clean, estimate, noise),
    )
    exists = {
        "pesq": lambda: has_pesq and not math.isnan(pesq(clean, clean, sample_rate)),
        "estoi": lambda: not math.isnan(estoi(clean, clean, sample_rate)),
        "si_sdr": lambda: _audible(clean),
        "si_sir": lambda: _audible(clean, noise),
        "si_sar": lambda: _audible(clean, noise),
    }
    settled = {
        name: float(np.clip(getattr(found, name), getattr(WORST, name), BEST_RATIO)) for name in exists
    }
    for name, value in settled.items():
        if math.isnan(value) and exists[name]():
            settled[name] = getattr(WORST, name)
    return Scores(**settled)


def _check(*waves: ArrayLike) -> list[NDArray[np.float64]]:
    """The waves as float64, once they are known to be 1-D and of one length."""
    checked = [np.asarray(wave, np.float64) for wave in waves]
    if any(wave.ndim != 1 for wave in checked):
        shapes = ", ".join(str(wave.shape) for wave in checked)
        raise ValueError(f"waves have shapes {shapes}; give one channel at a time, [samples]")
    if len({len(wave) for wave in checked}) > 1:
        lengths = ", ".join(str(len(wave)) for wave in checked)
        raise ValueError(f"waves have {lengths} samples; cut or align them to one length")
    return checked


def _pieces(waves: NDArray[np.float64], seconds: float) -> list[NDArray[np.float64]]:
    """Equal pieces of at most so many seconds of [waves, samples] at 16 kHz."""
    return np.array_split(waves, max(1, math.ceil(waves.shape[1] / (PESQ_RATE * seconds))), axis=1)


def _utterances(wave: NDArray[np.float64]) -> int:
    """At most how many utterances PESQ may find in [samples] at 16 kHz, wherever its threshold lies.

    As there, a frame has 4 ms, pauses up to 0.2 s belong to an utterance, which has at least 0.2 s.
    """
    frames = wave[: wave.size // 64 * 64].reshape(-1, 64)
    levels = 10 * np.log10(np.mean(frames**2, axis=1) + 1e-12)
    most = 0
    for threshold in np.arange(levels.min(), levels.max(), 3.0) if levels.size else ():
        speech = np.flatnonzero(levels > threshold)
        breaks = np.flatnonzero(np.diff(speech) > 50)
        starts, ends = speech[np.r_[0, breaks + 1]], speech[np.r_[breaks, -1]]
        most = max(most, int(np.sum(ends - starts >= 45)))
    return most


def _audible(*waves: NDArray[np.float64]) -> bool:
    return all(bool(wave.any() and np.isfinite(wave).all()) for wave in waves)


def _stoi(reference: ArrayLike, estimate: ArrayLike, sample_rate: int, extended: bool) -> float:
    with extra("eval", "ESTOI"):
        import pystoi

    reference, estimate = _check(reference, estimate)
    if len(reference) < STOI_SECONDS * sample_rate or not _audible(reference, estimate):
        return math.nan
    with _seeded(), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        score = float(pystoi.stoi(reference, estimate, sample_rate, extended))
    return math.nan if score == 1e-5 else score  # pystoi's word for "too little speech"


@contextlib.contextmanager
def _seeded() -> Iterator[None]:
    """pystoi adds noise of the size of rounding, by numpy's global generator: the same at every call."""
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002


def _project(wave: NDArray[np.float64], onto: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(all="ignore"):  # nan on silence, by intent
        return np.divide(wave @ onto, onto @ onto) * onto


def _decibels(wanted: NDArray[np.float64], unwanted: NDArray[np.float64]) -> float:
    with np.errstate(all="ignore"):  # inf without error, nan on silence, by intent
        return float(10 * np.log10(np.divide(wanted @ wanted, unwanted @ unwanted)))
