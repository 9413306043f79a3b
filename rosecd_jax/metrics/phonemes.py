"""Phoneme similarity, which is low for hallucinated or missing speech."""

import math
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from rosecd_jax.extras import extra
from rosecd_jax.metrics.checks import audible, checked
from rosecd_jax.metrics.perceptual import at_rate

RATE = 16000  # Hz


def phoneme_similarity(reference: ArrayLike, estimate: ArrayLike, sample_rate: int) -> float:
    """Levenshtein phoneme similarity (Pirklbauer et al. 2023) of [samples], up to 1; low for hallucinations.

    1 - d / n, where d is the edit distance between the two phoneme sequences recognized, one in each wave,
    and n the length of the reference's. The recognizer is Pocketsphinx (English) instead of the paper's
    larger model: scores are comparable between systems on the same files, not with papers. Returns nan if no
    phoneme is recognized in the reference, or if either wave is silent.
    """
    reference, estimate = checked(reference, estimate)
    if not audible(reference, estimate):
        return math.nan
    said, heard = (_recognize(_pcm(wave, sample_rate)) for wave in (reference, estimate))
    return 1 - edit_distance(said, heard) / len(said) if said else math.nan


def edit_distance(one: Sequence[str], other: Sequence[str]) -> int:
    """Compute the Levenshtein distance: the minimum number of insertions, deletions and replacements."""
    row = list(range(len(other) + 1))
    for i, symbol in enumerate(one, start=1):
        diagonal, row[0] = row[0], i
        for j, counterpart in enumerate(other, start=1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (symbol != counterpart))
    return row[-1]


def _pcm(wave: np.ndarray, sample_rate: int) -> bytes:
    """Convert to 16-bit samples at 16 kHz with the peak at -6 dB, so that levels don't matter."""
    wave = at_rate(wave, sample_rate, RATE)
    return np.round(wave / np.abs(wave).max() * 2**14).astype("<i2").tobytes()


@lru_cache(8)  # a reference is compared with several estimates
def _recognize(pcm: bytes) -> tuple[str, ...]:
    decoder = _decoder()
    decoder.start_utt()
    decoder.process_raw(pcm, full_utt=True)
    decoder.end_utt()
    words = [segment.word for segment in decoder.seg() or ()]
    return tuple(word for word in words if word != "SIL" and not word.startswith("+"))


@cache
def _decoder() -> Any:
    with extra("lps", "phoneme similarity"):
        import pocketsphinx
    model = pocketsphinx.get_model_path("en-us/en-us-phone.lm.bin")
    return pocketsphinx.Decoder(
        allphone=model,
        lm=None,
        dict=None,
        samprate=RATE,
        cmn="batch",
        beam=1e-20,
        pbeam=1e-20,
        lw=2.0,
        loglevel="FATAL",
    )
