"""Waves at the model's rate, of any length and number of channels, through compiled programs.

Long ones go in overlapping windows, as a stream: bounded memory, linear time. A window's frames are those
that the whole signal has, its noise belongs to their absolute numbers, its scale is the signal's. So
neighbors agree where they overlap, but for what the network sees of the rest; there one fades into the other.
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
"""Frames of a long signal's windows (20 s at 16 kHz): many times what networks are trained on, and a length
that shorter signals have a program for."""
DEPTH = 3
"""Batches of windows under way at a time."""


class WindowPlan(NamedTuple):
    """Where the windows of a signal begin, and how they overlap; all in frames.

    Attributes:
      window: frames in each.
      firsts: the first frame of each, ascending.
      fade: frames over which one fades into the next, in the middle of their overlap.
    """

    window: int
    firsts: tuple[int, ...]
    fade: int

    @property
    def joins(self) -> tuple[int, ...]:
        """The frames in the middle of the cross-fades."""
        return tuple((b + a + self.window) // 2 for a, b in itertools.pairwise(self.firsts))


def plan_windows(frames: int, window: int, unit: int) -> WindowPlan:
    """Windows that cover `frames` frames, `window` at a time.

    They begin at multiples of `unit`, so that the network's coarser levels lie as in the whole signal, and
    overlap by a half, at most by 384 frames. The last one ends less than a unit after the signal. They fade
    over half of the overlap: where two are averaged their differences from the whole signal are smaller.
    """
    overlap = max(unit, min(384, window // 2 // unit * unit))
    last = max(0, -(-(frames - window) // unit) * unit)
    firsts = (*range(0, last, window - overlap), last)
    return WindowPlan(window, firsts, overlap // 2)


@dataclasses.dataclass(frozen=True)
class WaveEnhancer:
    """What `Enhancer` is made of, for waves that have been resampled. Attributes as there.

    `wet` is the share of the model's output in files (see `models.enhancement.wet_share`); waves are the
    model's alone.
    """

    programs: Programs
    buckets: Sequence[int]
    limit: float
    wet: float = 1.0

    @property
    def unit(self) -> int:
        """Frame counts and the windows' beginnings are multiples of this."""
        return max(FRAMES, self.programs.model.config.stride)

    @property
    def window(self) -> int:
        """Frames of a window of a long signal; no more than the longest signal has that isn't long."""
        limit = int(self.limit * self.programs.model.front_end.sample_rate)
        return max(min(WINDOW, self.frames(limit)), 4 * self.unit) // self.unit * self.unit

    def frames(self, samples: int) -> int:
        """Frames that a signal of `samples` samples is padded to."""
        frames = self.programs.model.front_end.frames(samples)
        return padded_frames(frames, self.programs.model.config.stride, self.buckets)

    def is_long(self, samples: int) -> bool:
        """Whether a signal of `samples` samples goes in windows."""
        above = samples > self.limit * self.programs.model.front_end.sample_rate
        return above and self.frames(samples) > self.window

    def rows_alone(self, frames: int, channels: int) -> int:
        """How many channels of a signal that comes alone go together; few programs for all their counts."""
        return min(self.programs.rows(frames), 1 << (channels - 1).bit_length())

    def prepare(self, samples: int, channels: int) -> None:
        """Compile what `alone` needs for a signal of `samples` samples."""
        if self.is_long(samples):
            self.programs.program(self.window, self.programs.rows(self.window))
        else:
            frames = self.frames(samples)
            self.programs.program(frames, self.rows_alone(frames, channels))

    def __call__(self, wave: np.ndarray, seed: int, alone: bool = False) -> np.ndarray:
        """float32 [channels, samples] -> float32 [channels, samples], each channel by itself.

        By the programs that enhance it together with others, so that its bits are the same as there; if it is
        `alone`, by programs that have no more rows than it takes: faster, on a GPU.
        """
        samples = wave.shape[1]
        if self.is_long(samples):
            return np.concatenate(list(self.long([wave], samples, self.level(wave), seed)), axis=1)
        frames, stretches = self.stretches(wave, seed)
        rows = self.rows_alone(frames, len(wave)) if alone else self.programs.rows(frames)
        futures = [self.programs.submit(frames, rows, batch) for batch in groups(stretches, rows)]
        return self.finish(np.concatenate([future.result() for future in futures]), wave)

    def stretches(self, wave: np.ndarray, seed: int) -> tuple[int, list[Stretch]]:
        """The program's frames and one stretch a channel, for a signal that is not long."""
        plan = WindowPlan(self.frames(wave.shape[1]), (0,), 0)
        return plan.window, list(self._cut([wave], wave.shape[1], self.level(wave), seed, plan))

    def finish(self, enhanced: np.ndarray, wave: np.ndarray) -> np.ndarray:
        """The programs' results [channels, frames · hop], at the length and loudness of the signal."""
        return enhanced[:, : wave.shape[1]] * self.level(wave).scale[:, None]

    def level(self, wave: np.ndarray) -> Level:
        """Of float32 [channels, samples] at the model's rate."""
        return measure(wave, self.programs.model.front_end.sample_rate)

    def long(
        self, blocks: Iterable[np.ndarray], samples: int, level: Level, seed: int
    ) -> Iterator[np.ndarray]:
        """Enhance a long signal that comes in blocks; yields it in other blocks.

        Args:
          blocks: float32 [channels, any number].
          samples: their sum.
          level: of the signal, see `audio.level`.

        Yields:
          float32 [channels, any number], `samples` in all; a silent channel stays so.
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
        """Scale a signal, reflect its ends, and cut the windows of a plan out of it, each channel by itself.

        See `long` for the arguments; a signal that is not long is one window.
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
    """The blocks, the reflection of their last `most` samples, and then zeros, `length` at a time."""
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
    """The buffer with as many blocks after it as make `samples` samples."""
    pieces, held = [buffer], buffer.shape[1]
    while held < samples:
        pieces.append(next(blocks))
        held += pieces[-1].shape[1]
    return np.concatenate(pieces, axis=1)
