"""Offset and level of a recording: a model's input has the offset subtracted and is divided by the level.

The papers divide by max |y|, and so does this for ordinary recordings. But one thump or click far above the
speech would make everything else too quiet for the model: samples more than `EVENT` times (14 dB) as large
as the level that lasts for 80 ms are excluded from the maximum, with what rings after them above that level,
and with 32 ms on either side. What exceeds the level there is clipped, because the network normalizes over
the whole recording; ordinary recordings are not clipped. The mean is subtracted if it exceeds `OFFSET` times
the maximum, the median of short means agrees with it, and the recording has at least 0.4 s; the mean of
ordinary recordings is mostly below a tenth of this threshold.
"""

import math
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

BLOCK_SECONDS = 0.008
WINDOW = 50  # blocks (0.4 s) among which the lasting level is searched
LASTING = 10  # blocks (80 ms) of a window that make a level last
STRIDE = 5  # blocks from one window to the next
EVENT = 5.0
RANGE = 100.0  # maximum ratio of an event to the level (40 dB)
AROUND = 4  # blocks on either side of an event
SHORTEST = 125  # blocks (1 s) of a recording that can have events; cut speech looks like one in shorter ones
OFFSET = 0.003
GROUPED = 8  # blocks (64 ms) of each mean whose median has to agree with the mean of all


class Level(NamedTuple):
    """Level of each channel or item, arrays [B].

    Attributes:
      offset, scale: offset and divisor, float32; the divisor of silence is 0.
      limited: number of samples in the blocks where `scaled` clips.
    """

    offset: Any
    scale: Any
    limited: Any = 0

    def scaled(self, wave: Any, xp: ModuleType = np) -> Any:
        """Normalize float32 [B, samples] for a model, to -1 ... 1, with numpy or jax.numpy."""
        scaled = (wave - self.offset[:, None]) / xp.where(self.scale > 0, self.scale, 1)[:, None]
        return xp.clip(scaled, -1, 1)


class LevelMeter:
    """Level meter for a signal given in blocks of any size: call `put` for each, then `level`."""

    def __init__(self, channels: int, sample_rate: int) -> None:
        self.block = block_size(sample_rate)
        self.blocks: list[np.ndarray] = []  # minimum, maximum and sum of each block [3, channels, blocks]
        self.rest = np.zeros((channels, 0), np.float32)
        self.samples = 0

    def put(self, wave: np.ndarray) -> None:
        """Add the next samples, float32 [channels, samples]."""
        self.samples += wave.shape[1]
        wave = np.concatenate([self.rest, wave], axis=1)
        whole, self.rest = np.split(wave, [wave.shape[1] // self.block * self.block], axis=1)
        self._note(whole.reshape(len(whole), -1, self.block))

    def _note(self, blocks: np.ndarray) -> None:
        if blocks.size:
            sums = blocks.sum(axis=-1, dtype=np.float64).astype(np.float32)
            self.blocks.append(np.stack([blocks.min(axis=-1), blocks.max(axis=-1), sums]))

    def level(self) -> Level:
        """Return the level of all samples put so far, at least one."""
        self._note(self.rest[:, None])
        self.rest = self.rest[:, :0]
        lows, highs, sums = np.concatenate(self.blocks, axis=-1)
        return _level(lows, highs, sums, np.array([self.samples]), self.block, np)


def measure(wave: np.ndarray, sample_rate: int) -> Level:
    """Measure the level of each channel of a non-empty wave, float32 [channels, samples]."""
    meter = LevelMeter(len(wave), sample_rate)
    meter.put(wave)
    return meter.level()


def level_of_padded(wave: jax.Array, samples: jax.Array, sample_rate: int) -> Level:
    """Compute `measure` in pure jnp for float32 [B, buffer]; ignores what is beyond `samples`, int32 [B]."""
    block = block_size(sample_rate)
    blocks = (wave.shape[1] + block - 1) // block
    wave = jnp.pad(wave, ((0, 0), (0, blocks * block - wave.shape[1])))
    valid = jnp.arange(wave.shape[1]) < samples[:, None]
    shape = wave.shape[0], blocks, block
    lows = jnp.where(valid, wave, jnp.inf).reshape(shape).min(axis=-1)
    highs = jnp.where(valid, wave, -jnp.inf).reshape(shape).max(axis=-1)
    sums = jnp.where(valid, wave, 0).reshape(shape).sum(axis=-1)
    return _level(lows, highs, sums, samples, block, jnp)


def block_size(sample_rate: int) -> int:
    """Number of samples in a block: a power of two that divides the length of models' buffers."""
    return 2 ** max(0, round(math.log2(BLOCK_SECONDS * sample_rate)))


def is_constant(mean: Any, sums: Any, counts: Any, xp: ModuleType, group: int = GROUPED) -> Any:
    """Return whether a mean [B] is that of a constant offset, not of a sound that has passed; bool [B].

    It has to agree with the median of the means of groups of blocks, from the blocks' sums and lengths, each
    [B, blocks] or [1, blocks].
    """
    groups = (sums.shape[1] + group - 1) // group
    pad = (0, 0), (0, groups * group - sums.shape[1])
    sums, counts = (
        xp.pad(each, pad).reshape(each.shape[0], groups, group).sum(axis=2) for each in (sums, counts)
    )
    usual = xp.nanmedian(xp.where(counts > 0, sums / xp.maximum(counts, 1), xp.nan), axis=1)
    return xp.abs(usual - mean) < xp.abs(mean) / 2


def lasting_level(peaks: Any, near: Any, xp: ModuleType) -> Any:
    """Return the maximum of blocks' peaks [B, blocks] that are not near an event, see `near_events`; [B]."""
    calm = xp.where(near, 0, peaks).max(axis=1)
    loudest = peaks.max(axis=1)
    return xp.where(calm > 0, xp.maximum(calm, loudest / RANGE), loudest)


def near_events(peaks: Any, xp: ModuleType) -> Any:
    """Return whether blocks are in an event or near one, bool [B, blocks], from their peaks [B, blocks]."""
    blocks = peaks.shape[1]
    padded = xp.pad(peaks, ((0, 0), (0, WINDOW)))  # so that even the last block is in a window
    firsts = STRIDE * xp.arange((blocks + STRIDE - 1) // STRIDE)
    windows = padded[:, firsts[:, None] + np.arange(WINDOW)]
    lasting = xp.sort(windows, axis=2)[..., WINDOW - LASTING].max(axis=1)
    events, loud = peaks > EVENT * lasting[:, None], peaks > lasting[:, None]
    none = xp.zeros_like(events[:, :1])
    for _ in range(LASTING):  # what rings after an event; fewer blocks of any window are loud
        events = events | (xp.concatenate([none, events[:, :-1]], axis=1) & loud)
    events = xp.pad(events, ((0, 0), (AROUND, AROUND)))
    return sum(events[:, i : i + blocks] for i in range(2 * AROUND + 1)) > 0


def _level(lows: Any, highs: Any, sums: Any, samples: Any, block: int, xp: ModuleType) -> Level:
    """Compute the level from extremes and sums of blocks [B, blocks] of `samples` [B] in all.

    Blocks beyond the samples have extremes of +-inf and sums of 0.
    """
    tops, long = xp.maximum(xp.maximum(highs, -lows), 0), (samples >= SHORTEST * block)[:, None]
    counts = xp.clip(samples[:, None] - block * xp.arange(lows.shape[1]), 0, block)
    calm = ~near_events(tops, xp)
    counted = xp.where(calm, counts, 0).sum(axis=1)
    mean = (xp.where(calm, sums, 0).sum(axis=1) / xp.maximum(counted, 1)).astype(xp.float32)
    is_offset = xp.abs(mean) > OFFSET * xp.where(calm, tops, 0).max(axis=1)
    is_offset &= is_constant(mean, sums, counts, xp)
    offset = xp.where(is_offset & (samples >= WINDOW * block), mean, xp.zeros_like(mean))
    peaks = xp.maximum(xp.maximum(highs - offset[:, None], offset[:, None] - lows), 0)
    scale = lasting_level(peaks, near_events(peaks, xp) & long, xp)
    return Level(offset, scale, xp.where(peaks > scale[:, None], counts, 0).sum(axis=1))
