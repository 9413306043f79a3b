"""The offset and the level of a recording: what is taken off it and what it is divided by before a model.

The papers divide by max |y|. So does this for ordinary recordings, exactly; but one thump or click far above
the speech would make all the rest too quiet for the model. Where samples are more than `EVENT` times (14 dB)
as large as what lasts for 80 ms, they are left out of the maximum, with 32 ms on either side. A mean of more
than `OFFSET` of the maximum is taken off, of recordings from 0.4 s on: that of ordinary ones, mostly below a
tenth of it, is left.
"""

import math
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

BLOCK_SECONDS = 0.008
WINDOW = 50  # blocks, 0.4 s: in which what lasts is looked for
LASTING = 10  # so many of them make a level last
STRIDE = 5  # blocks from one window to the next
EVENT = 5.0
RANGE = 100.0  # the most by which an event may be above the level (40 dB)
AROUND = 4  # blocks on either side of an event
OFFSET = 0.003


class Level(NamedTuple):
    """Of each channel or item, float32 [B]: what is subtracted, and the divisor, 0 for silence."""

    offset: Any
    scale: Any

    def scaled(self, wave: np.ndarray) -> np.ndarray:
        """float32 [B, samples] as a model expects it."""
        return (wave - self.offset[:, None]) / np.where(self.scale > 0, self.scale, 1)[:, None]


class LevelMeter:
    """Measures a signal that comes in blocks of any size: `put` them all, then `level`."""

    def __init__(self, channels: int, sample_rate: int) -> None:
        self.block = block_size(sample_rate)
        self.lows: list[np.ndarray] = []
        self.highs: list[np.ndarray] = []
        self.rest = np.zeros((channels, 0), np.float32)
        self.total, self.samples = np.zeros(channels), 0

    def put(self, wave: np.ndarray) -> None:
        """Take the next samples, float32 [channels, samples]."""
        self.total += wave.sum(axis=1, dtype=np.float64)
        self.samples += wave.shape[1]
        wave = np.concatenate([self.rest, wave], axis=1)
        whole, self.rest = np.split(wave, [wave.shape[1] // self.block * self.block], axis=1)
        self._note(whole.reshape(len(whole), -1, self.block))

    def _note(self, blocks: np.ndarray) -> None:
        if blocks.size:
            self.lows.append(blocks.min(axis=-1))
            self.highs.append(blocks.max(axis=-1))

    def level(self) -> Level:
        """Of all that was put, at least one sample."""
        self._note(self.rest[:, None])
        self.rest = self.rest[:, :0]
        lows, highs = np.concatenate(self.lows, axis=1), np.concatenate(self.highs, axis=1)
        mean = self.total / self.samples if self.samples >= WINDOW * self.block else 0 * self.total
        return _level(lows, highs, mean.astype(np.float32), np)


def measure(wave: np.ndarray, sample_rate: int) -> Level:
    """The level of each channel of float32 [channels, samples], not empty."""
    meter = LevelMeter(len(wave), sample_rate)
    meter.put(wave)
    return meter.level()


def level_of_padded(wave: jax.Array, samples: jax.Array, sample_rate: int) -> Level:
    """The same, pure, of float32 [B, buffer]; what lies beyond `samples`, int32 [B], is ignored."""
    block = block_size(sample_rate)
    blocks = (wave.shape[1] + block - 1) // block
    wave = jnp.pad(wave, ((0, 0), (0, blocks * block - wave.shape[1])))
    valid = jnp.arange(wave.shape[1]) < samples[:, None]
    mean = jnp.sum(jnp.where(valid, wave, 0), axis=1) / jnp.maximum(samples, 1)
    mean = jnp.where(samples >= WINDOW * block, mean, 0)
    shape = wave.shape[0], blocks, block
    lows = jnp.where(valid, wave, jnp.inf).reshape(shape).min(axis=-1)
    highs = jnp.where(valid, wave, -jnp.inf).reshape(shape).max(axis=-1)
    return _level(lows, highs, mean, jnp)


def block_size(sample_rate: int) -> int:
    """Samples of a block: a power of two, of which the buffers of models are multiples."""
    return 2 ** max(0, round(math.log2(BLOCK_SECONDS * sample_rate)))


def _level(lows: Any, highs: Any, mean: Any, xp: ModuleType) -> Level:
    """From the extremes of blocks [B, blocks] and the mean [B]; by numpy or jax.numpy."""
    top = xp.maximum(highs, -lows).max(axis=1)
    offset = xp.where(xp.abs(mean) > OFFSET * top, mean, xp.zeros_like(mean))
    peaks = xp.maximum(xp.maximum(highs - offset[:, None], offset[:, None] - lows), 0)
    blocks = peaks.shape[1]
    padded = xp.pad(peaks, ((0, 0), (0, WINDOW)))  # every block is in a window, however few there are
    firsts = STRIDE * xp.arange((blocks + STRIDE - 1) // STRIDE)
    windows = padded[:, firsts[:, None] + np.arange(WINDOW)]
    lasting = xp.sort(windows, axis=2)[..., WINDOW - LASTING].max(axis=1)
    events = xp.pad(peaks > EVENT * lasting[:, None], ((0, 0), (AROUND, AROUND)))
    near = sum(events[:, i : i + blocks] for i in range(2 * AROUND + 1))
    calm = xp.where(near == 0, peaks, 0).max(axis=1)
    loudest = peaks.max(axis=1)
    return Level(offset, xp.where(calm > 0, xp.maximum(calm, loudest / RANGE), loudest))
