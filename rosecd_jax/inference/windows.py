"""Enhancement of waves at the model's rate, of any length and number of channels, by compiled programs.

Long waves are enhanced in overlapping windows: bounded memory, linear time. A window shares frames, noise
(by absolute frame number) and scale with the whole signal. Neighbors therefore agree where they overlap,
except for the network's different context, and are cross-faded there.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from rosecd_jax.audio.level import Level, measure
from rosecd_jax.inference.programs import Programs, Stretch
from rosecd_jax.models.enhancement import FRAMES, padded_frames
from rosecd_jax.prefetch import ahead, groups

WINDOW = 2560
"""Frames of a long signal's windows (20 s if 8 ms apart): many times the length of training crops, and a
bucket of shorter signals."""
DEPTH = 3
"""Batches of windows in flight."""


class WindowPlan(NamedTuple):
    """Positions and overlap of a signal's windows, in frames.

    Attributes:
      window: length of a window.
      firsts: first frame of each window, ascending.
      fade: length of the cross-fade in the middle of an overlap.
    """

    window: int
    firsts: tuple[int, ...]
    fade: int

    @property
    def joins(self) -> tuple[int, ...]:
        """Center frames of the cross-fades."""
        return tuple((b + a + self.window) // 2 for a, b in itertools.pairwise(self.firsts))


def plan_windows(frames: int, window: int, unit: int) -> WindowPlan:
    """Cover `frames` frames with windows of `window` frames.

    They start at multiples of `unit`, so that the network's coarser levels are aligned as in the whole
    signal, and overlap by half, at most by 384 frames; the last two may overlap more. The last one ends less
    than a unit after the signal. The cross-fade takes half of the usual overlap: averaging two windows
    reduces their errors.
    """
    overlap = max(unit, min(384, window // 2 // unit * unit))
    last = max(0, -(-(frames - window) // unit) * unit)
    firsts = (*range(0, last, window - overlap), last)
    return WindowPlan(window, firsts, overlap // 2)


@dataclasses.dataclass(frozen=True)
class WaveEnhancer:
    """Enhancement of waves at the model's rate; attributes as in `Enhancer`.

    `wet` is the share of the model's output in files (see `models.enhancement.wet_share`); waves returned
    here are the model's output only.
    """

    programs: Programs
    buckets: Sequence[int]
    limit: float
    wet: float = 1.0

    @property
    def unit(self) -> int:
        """Common divisor of frame counts and window starts."""
        return max(FRAMES, self.programs.model.config.stride)

    @property
    def window(self) -> int:
        """Frames of a long signal's window, at most those of the longest signal below the limit."""
        limit = int(self.limit * self.programs.model.front_end.sample_rate)
        return max(min(WINDOW, self.frames(limit)), 4 * self.unit) // self.unit * self.unit

    def frames(self, samples: int) -> int:
        """Return the number of frames that a signal of `samples` samples is padded to."""
        frames = self.programs.model.front_end.frames(samples)
        return padded_frames(frames, self.programs.model.config.stride, self.buckets)

    def is_long(self, samples: int) -> bool:
        """Return whether a signal of `samples` samples is enhanced in windows."""
        above = samples > self.limit * self.programs.model.front_end.sample_rate
        return above and self.frames(samples) > self.window

    def rows_alone(self, frames: int, channels: int) -> int:
        """Return the rows of the program for a single signal: a power of two, for few programs."""
        return min(self.programs.rows(frames), 1 << (channels - 1).bit_length())

    def prepare(self, samples: int, channels: int) -> None:
        """Compile the program for a single signal of `samples` samples."""
        if self.is_long(samples):
            self.programs.program(self.window, self.programs.rows(self.window))
        else:
            frames = self.frames(samples)
            self.programs.program(frames, self.rows_alone(frames, channels))

    def __call__(self, wave: np.ndarray, seed: int, alone: bool = False) -> np.ndarray:
        """Enhance float32 [channels, samples], each channel separately.

        By default, programs for full batches are used, so that the result is bit for bit the same as in a
        batch. `alone` uses programs with no more rows than needed, which is faster on a GPU.
        """
        samples, level = wave.shape[1], self.level(wave)
        if self.is_long(samples):
            return np.concatenate(list(self.long([wave], samples, level, seed)), axis=1)
        frames, stretches = self.stretches(wave, level, seed)
        rows = self.rows_alone(frames, len(wave)) if alone else self.programs.rows(frames)
        if len(stretches) <= rows:
            enhanced = self.programs(frames, rows, stretches)
        else:
            futures = [self.programs.submit(frames, rows, batch) for batch in groups(stretches, rows)]
            enhanced = np.concatenate([future.result() for future in futures])
        return self.finish(enhanced, level, samples)

    def stretches(self, wave: np.ndarray, level: Level, seed: int) -> tuple[int, list[Stretch]]:
        """Return the program's frames and one stretch per channel, for a signal that is not long."""
        plan = WindowPlan(self.frames(wave.shape[1]), (0,), 0)
        return plan.window, list(self._cut([wave], wave.shape[1], level, seed, plan))

    def finish(self, enhanced: np.ndarray, level: Level, samples: int) -> np.ndarray:
        """Restore the signal's length and level in results [channels, frames · hop]."""
        return enhanced[:, :samples] * level.scale[:, None]

    def level(self, wave: np.ndarray) -> Level:
        """Measure the level of float32 [channels, samples] at the model's rate."""
        return measure(wave, self.programs.model.front_end.sample_rate)

    def long(
        self, blocks: Iterable[np.ndarray], samples: int, level: Level, seed: int
    ) -> Iterator[np.ndarray]:
        """Enhance a long signal given in blocks; yield it in other blocks.

        Args:
          blocks: float32 [channels, any number].
          samples: total length.
          level: level of the signal, see `audio.level`.

        Yields:
          float32 [channels, any number], `samples` in total; silent channels stay silent.
        """
        front, programs = self.programs.model.front_end, self.programs
        plan = plan_windows(front.frames(samples), self.window, self.unit)
        hop, fade = front.hop, plan.fade * front.hop
        starts = [first * hop for first in plan.firsts]
        ends = [join * hop - fade // 2 for join in plan.joins]
        ramp = (np.arange(fade, dtype=np.float32) + 0.5) / fade
        rows = programs.rows(plan.window)
        batches = groups(self._cut(blocks, samples, level, seed, plan), rows)
        results = ahead(lambda batch: programs.submit(plan.window, rows, batch), batches, DEPTH)
        computed = groups(itertools.chain.from_iterable(results), len(level.scale))

        held, position = np.zeros((len(level.scale), 0), np.float32), 0
        for start, end, channels in zip(starts, [*ends, samples], computed, strict=True):
            enhanced = np.stack(channels) * level.scale[:, None]
            if held.size:
                entering = enhanced[:, position - start :][:, :fade]
                yield held * (1 - ramp) + entering * ramp
                position += fade
            yield enhanced[:, position - start : end - start]
            held, position = enhanced[:, end - start :][:, :fade], end

    def _cut(
        self, blocks: Iterable[np.ndarray], samples: int, level: Level, seed: int, plan: WindowPlan
    ) -> Iterator[Stretch]:
        """Scale a signal, reflect its ends, and cut it into the windows of a plan, each channel separately.

        Arguments as in `long`; a short signal is one window.
        """
        front = self.programs.model.front_end
        before, length = front.reach * front.hop, front.stretch(plan.window)
        blocks = _reflect_end((level.scaled(block) for block in blocks), front.n_fft // 2, length)
        buffer, begin = _at_least(before + 1, next(blocks), blocks), -before
        buffer = np.concatenate([buffer[:, before:0:-1], buffer], axis=1)
        for first in plan.firsts:
            start = first * front.hop - before
            buffer, begin = _at_least(length, buffer[:, start - begin :], blocks), start
            valid = min(plan.window, front.frames(samples) - first)
            yield from (Stretch(row, valid, first, seed) for row in buffer[:, :length])


def _reflect_end(blocks: Iterable[np.ndarray], most: int, length: int) -> Iterator[np.ndarray]:
    """Yield the blocks, the reflection of their last `most` samples, then zeros, `length` at a time."""
    recent = None
    for block in blocks:
        recent = block if recent is None else np.concatenate([recent, block], axis=1)
        recent = recent[:, -most - 1 :]
        yield block
    if recent is not None:
        yield recent[:, -2::-1]
        while True:
            yield np.zeros((len(recent), length), np.float32)


def _at_least(samples: int, buffer: np.ndarray, blocks: Iterator[np.ndarray]) -> np.ndarray:
    """Append blocks to the buffer until it has `samples` samples."""
    pieces, held = [buffer], buffer.shape[1]
    while held < samples:
        pieces.append(next(blocks))
        held += pieces[-1].shape[1]
    return np.concatenate(pieces, axis=1)
