"""Signals of any length in overlapping windows, as a stream: bounded memory, linear time.

A window's frames are those that the whole signal has, its noise belongs to their absolute numbers, its scale
is the signal's. So neighbours agree where they overlap, but for what the network sees of the rest; there one
fades into the other.
"""

import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from rosecd_jax.audio.level import Level
from rosecd_jax.audio.stft import FrontEnd
from rosecd_jax.inference.programs import Programs, Stretch
from rosecd_jax.prefetch import ahead, groups

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


def enhance_windows(
    blocks: Iterable[np.ndarray],
    samples: int,
    level: Level,
    seed: int,
    plan: WindowPlan,
    programs: Programs,
) -> Iterator[np.ndarray]:
    """Enhance a signal that comes in blocks; yields it in other blocks.

    Args:
      blocks: float32 [channels, any number] at the model's rate.
      samples: their sum; more than a window.
      level: of the signal, see `audio.level`.
      plan: for the signal's frames.

    Yields:
      float32 [channels, any number], `samples` in all; a silent channel stays so.
    """
    front = programs.model.front_end
    hop, fade = front.hop, plan.fade * front.hop
    starts = [first * hop for first in plan.firsts]
    ends = [join * hop - fade // 2 for join in plan.joins]
    ramp = (np.arange(fade, dtype=np.float32) + 0.5) / fade
    windows = prepare(blocks, samples, level, front, plan)
    stretches = (Stretch(row, valid, first, seed) for wave, valid, first in windows for row in wave)
    rows = programs.rows(plan.window)
    results = ahead(lambda batch: programs.submit(plan.window, rows, batch), groups(stretches, rows), DEPTH)
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


def prepare(
    blocks: Iterable[np.ndarray], samples: int, level: Level, front: FrontEnd, plan: WindowPlan
) -> Iterator[tuple[np.ndarray, int, int]]:
    """Scale a signal, reflect its ends, and cut the windows of a plan, as `enhance_frames` takes them.

    A short signal is one window; see `enhance_windows` for the arguments.

    Yields:
      (wave float32 [channels, stretch], how many of its frames are the signal's, its first frame)
    """
    before, length = front.reach * front.hop, front.stretch(plan.window)
    blocks = _reflect_end((level.scaled(block) for block in blocks), front.n_fft // 2, length)
    buffer, begin = _at_least(before + 1, next(blocks), blocks), -before
    buffer = np.concatenate([buffer[:, before:0:-1], buffer], axis=1)
    for first in plan.firsts:
        start = first * front.hop - before
        buffer, begin = _at_least(length, buffer[:, start - begin :], blocks), start
        yield buffer[:, :length], min(plan.window, front.frames(samples) - first), first


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
