"""Waves at another sample rate, whole or in blocks, through libsoxr (package soxr)."""

import math
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray


def resampled_length(samples: int, rate_in: int, rate_out: int) -> int:
    """How many samples `resample` makes of `samples`: the nearest number, halves up as in soxr, not 0."""
    return max(1, (2 * samples * rate_out + rate_in) // (2 * rate_in))


def resample(wave: ArrayLike, rate_in: int, rate_out: int, samples: int | None = None) -> NDArray[np.float32]:
    """Resample [..., samples] from `rate_in` to `rate_out` (Hz), at soxr's best quality.

    Returns float32 of `resampled_length`, or cut or zero-padded to `samples`: how a wave gets its own length
    back after a stay at another rate. Equal rates leave the values as they are.
    """
    import soxr

    source = np.asarray(wave, np.float32)
    *leading, length = source.shape
    channels = source.reshape(math.prod(leading), length)
    if rate_in != rate_out:
        frames = channels.T.copy()  # soxr checks strides, of single samples too with numpy before 2.4
        channels = soxr.resample(frames, rate_in, rate_out, quality="VHQ").T
    if samples is None:
        samples = resampled_length(length, rate_in, rate_out)
    result = np.zeros((len(channels), samples), np.float32)
    kept = min(samples, channels.shape[1])
    result[:, :kept] = channels[:, :kept]
    return result.reshape(*leading, samples)


def resample_blocks(
    blocks: Iterable[NDArray[np.float32]], rate_in: int, rate_out: int, samples: int | None = None
) -> Iterator[NDArray[np.float32]]:
    """`resample` of a wave that comes in blocks [channels, samples]; the same values, in other blocks."""
    import soxr

    length = produced = channels = 0
    stream = None

    def kept(block: NDArray[np.float32]) -> NDArray[np.float32]:
        nonlocal produced
        block = block[:, : None if samples is None else max(0, samples - produced)]
        produced += block.shape[1]
        return block

    for block in blocks:
        length, channels = length + block.shape[1], len(block)
        if rate_in != rate_out:
            stream = stream or soxr.ResampleStream(rate_in, rate_out, channels, quality="VHQ")
            block = stream.resample_chunk(block.T.copy()).T
        yield kept(block)
    if stream is not None:
        yield kept(stream.resample_chunk(np.zeros((0, channels), np.float32), last=True).T)
    if samples is None:
        samples = resampled_length(length, rate_in, rate_out)
    missing = samples - produced
    if missing > 0:
        yield np.zeros((channels, missing), np.float32)
