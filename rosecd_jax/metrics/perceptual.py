"""Perceptual measures: PESQ, STOI, ViSQOL."""

import contextlib
import importlib.util
import logging
import math
import warnings
from collections.abc import Iterator
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from rosecd_jax.extras import extra
from rosecd_jax.metrics.checks import Wave, audible, checked

PESQ_RATE = 16000  # Hz, the only rate of wide-band PESQ
PESQ_NARROW_RATE = 8000
PESQ_SECONDS = 30
PESQ_SHORTER = 15  # seconds; an utterance takes at least 0.2 s, and so does a pause
SILENCED = {"wb": 0.999, "nb": 1.017}  # the lowest scores, of a piece that the estimate lacks
PESQ_UTTERANCES = 40  # with more than 50, the package pesq crashes the interpreter
STOI_SECONDS = 0.39  # pystoi needs 30 half-overlapping frames of 256 samples at 10 kHz
VISQOL_RATE = 16000
VISQOL_SECONDS = 1.0


def pesq_is_installed() -> bool:
    """Return whether the package pesq can be imported."""
    return importlib.util.find_spec("pesq") is not None


def at_rate(wave: Wave, sample_rate: int, wanted: int) -> Wave:
    """Resample a wave [samples] to `wanted` Hz (soxr, very high quality)."""
    import soxr

    return wave if sample_rate == wanted else soxr.resample(wave, sample_rate, wanted, quality="VHQ")


def pesq(reference: ArrayLike, estimate: ArrayLike, sample_rate: int) -> float:
    """Wide-band PESQ (ITU-T P.862.2), 0.999 to 4.644, of [samples] at `sample_rate` Hz, resampled to 16 kHz.

    Waves longer than 30 s get the mean over equal pieces of at most 30 s; if a piece may have more utterances
    than the package can hold, the wave, even one of less than 30 s, is cut into pieces of at most 15 s.
    Pieces without speech are left out; one that is silent in the estimate alone gets the lowest score.
    Returns nan for silence, for less than 1/4 s, and if PESQ finds no utterance.

    Raises:
      ValueError: if the waves are not 1-D or differ in length.
      ImportError: without the package pesq.
    """
    return _pesq(reference, estimate, sample_rate, "wb")


def pesq_narrow(reference: ArrayLike, estimate: ArrayLike, sample_rate: int) -> float:
    """Narrow-band PESQ (ITU-T P.862.1), 1.017 to 4.549, resampled to 8 kHz; otherwise as `pesq`."""
    return _pesq(reference, estimate, sample_rate, "nb")


def _pesq(reference: ArrayLike, estimate: ArrayLike, sample_rate: int, mode: Literal["wb", "nb"]) -> float:
    with extra("eval", "PESQ"):  # the package needs a C compiler
        from pesq import BufferTooShortError, NoUtterancesError
        from pesq import pesq as package

    rate = PESQ_RATE if mode == "wb" else PESQ_NARROW_RATE
    both = checked(reference, estimate)
    if not audible(*both):
        return math.nan
    waves = np.stack([at_rate(wave, sample_rate, rate) for wave in both])
    pieces = _pieces(waves, rate * PESQ_SECONDS)
    if any(_utterances(piece[0], rate) > PESQ_UTTERANCES for piece in pieces):
        pieces = _pieces(waves, rate * PESQ_SHORTER)
    scores = []
    for piece in pieces:
        try:
            with np.errstate(invalid="ignore"):  # the package divides by the peak, 0 if both pause
                scores.append(package(rate, piece[0], piece[1], mode))
        except (BufferTooShortError, NoUtterancesError):
            continue
        except ValueError:  # the package fails for an estimate without energy
            scores.append(SILENCED[mode])
    return float(np.mean(scores)) if set(scores) - {SILENCED[mode]} else math.nan


def _pieces(waves: Wave, most: int) -> list[Wave]:
    """Split [waves, samples] into equal pieces of at most `most` samples."""
    return np.array_split(waves, max(1, math.ceil(waves.shape[1] / most)), axis=1)


def _utterances(wave: Wave, rate: int) -> int:
    """Bound the number of utterances that PESQ may find in [samples] by a maximum over thresholds.

    As in PESQ, a frame is 4 ms, and an utterance is at least 0.2 s and may include pauses of up to 0.2 s.
    """
    size = rate // 250
    frames = wave[: wave.size // size * size].reshape(-1, size)
    levels = 10 * np.log10(np.mean(frames**2, axis=1) + 1e-12)
    most = 0
    for threshold in np.arange(levels.min(), levels.max(), 3.0) if levels.size else ():
        speech = np.flatnonzero(levels > threshold)
        breaks = np.flatnonzero(np.diff(speech) > 50)
        starts, ends = speech[np.r_[0, breaks + 1]], speech[np.r_[breaks, -1]]
        most = max(most, int(np.sum(ends - starts >= 45)))
    return most


def stoi(reference: ArrayLike, estimate: ArrayLike, sample_rate: int) -> float:
    """Short-time objective intelligibility (Taal et al. 2011), up to 1, of [samples] at `sample_rate` Hz.

    Returns nan for silence, and for less than 0.4 s of speech, not counting pauses.
    """
    return _stoi(reference, estimate, sample_rate, extended=False)


def estoi(reference: ArrayLike, estimate: ArrayLike, sample_rate: int) -> float:
    """Extended STOI (Jensen and Taal 2016), up to 1; arguments and nan as in `stoi`."""
    return _stoi(reference, estimate, sample_rate, extended=True)


def _stoi(reference: ArrayLike, estimate: ArrayLike, sample_rate: int, extended: bool) -> float:
    with extra("eval", "ESTOI"):
        import pystoi

    reference, estimate = checked(reference, estimate)
    if len(reference) < STOI_SECONDS * sample_rate or not audible(reference, estimate):
        return math.nan
    with _seeded(), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        score = float(pystoi.stoi(reference, estimate, sample_rate, extended))
    return math.nan if score == 1e-5 else score  # 1e-5: too little speech for pystoi


@contextlib.contextmanager
def _seeded() -> Iterator[None]:
    """Seed NumPy's global generator, from which pystoi draws noise of the size of rounding errors."""
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002


def visqol(reference: ArrayLike, estimate: ArrayLike, sample_rate: int) -> float:
    """ViSQOL v3 in its speech mode (Chinen et al. 2020), MOS-LQO 1 to 5, of [samples] resampled to 16 kHz.

    The mapping to opinion scores is the polynomial one, without TensorFlow Lite. Returns nan for silence and
    for less than 1 s.
    """
    reference, estimate = checked(reference, estimate)
    if not audible(reference, estimate) or reference.size < VISQOL_SECONDS * sample_rate:
        return math.nan
    one, other = (at_rate(wave, sample_rate, VISQOL_RATE) for wave in (reference, estimate))
    try:
        return float(_visqol().measure_from_arrays(one, other, VISQOL_RATE).moslqo)
    except ValueError:  # no patch with speech
        return math.nan


@cache
def _visqol() -> Any:
    with extra("visqol", "ViSQOL"):
        from visqol import VisqolApi
    logging.getLogger("visqol").setLevel(logging.ERROR)
    api = VisqolApi()
    api.create(mode="speech", use_lattice_model=False)
    return api
