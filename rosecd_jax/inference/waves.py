"""Waves at the model's rate, of any length and number of channels, through compiled programs."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from rosecd_jax.audio.level import Level, measure
from rosecd_jax.inference.programs import Programs, Stretch
from rosecd_jax.inference.windows import WindowPlan, enhance_windows, plan_windows, prepare
from rosecd_jax.models.enhancement import FRAMES, padded_frames

WINDOW = 2560
"""Frames of a long signal's windows (20 s at 16 kHz): many times what networks are trained on, and a length
that shorter signals have a program for."""


@dataclasses.dataclass(frozen=True)
class WaveEnhancer:
    """What `Enhancer` is made of, for waves that have been resampled. Attributes as there.

    `wet` is the share of the model's output in files (see `inference.strength`); waves are the model's alone.
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

    def __call__(self, wave: np.ndarray, seed: int) -> np.ndarray:
        """float32 [channels, samples] -> float32 [channels, samples], each channel by itself.

        By the programs that enhance it together with others, so that its bits are the same as there.
        """
        return self._enhance(wave, seed, self.programs.rows(self.frames(wave.shape[1])))

    def alone(self, wave: np.ndarray, seed: int) -> np.ndarray:
        """The same, but for rounding, by programs that have no more rows than it takes: faster, on a GPU."""
        return self._enhance(wave, seed, self.rows_alone(self.frames(wave.shape[1]), len(wave)))

    def _enhance(self, wave: np.ndarray, seed: int, rows: int) -> np.ndarray:
        samples = wave.shape[1]
        if self.is_long(samples):
            return np.concatenate(list(self.long([wave], samples, self.level(wave), seed)), axis=1)
        frames, stretches = self.stretches(wave, seed)
        starts = range(0, len(stretches), rows)
        futures = [self.programs.submit(frames, rows, stretches[i : i + rows]) for i in starts]
        return self.finish(np.concatenate([future.result() for future in futures]), wave)

    def stretches(self, wave: np.ndarray, seed: int) -> tuple[int, list[Stretch]]:
        """The program's frames and one stretch a channel, for a signal that is not long."""
        front, samples = self.programs.model.front_end, wave.shape[1]
        plan = WindowPlan(self.frames(samples), (0,), 0)
        [(rows, valid, first)] = prepare([wave], samples, self.level(wave), front, plan)
        return plan.window, [Stretch(row, valid, first, seed) for row in rows]

    def finish(self, enhanced: np.ndarray, wave: np.ndarray) -> np.ndarray:
        """The programs' results [channels, frames · hop], at the length and loudness of the signal."""
        return enhanced[:, : wave.shape[1]] * self.level(wave).scale[:, None]

    def level(self, wave: np.ndarray) -> Level:
        """Of float32 [channels, samples] at the model's rate."""
        return measure(wave, self.programs.model.front_end.sample_rate)

    def long(
        self, blocks: Iterable[np.ndarray], samples: int, level: Level, seed: int
    ) -> Iterator[np.ndarray]:
        """A long signal block by block; see `enhance_windows`."""
        frames = self.programs.model.front_end.frames(samples)
        plan = plan_windows(frames, self.window, self.unit)
        return enhance_windows(blocks, samples, level, seed, plan, self.programs)
