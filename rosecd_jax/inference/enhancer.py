"""Enhancer: a loaded model applied to arrays, files and folders."""

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rosecd_jax.audio import io
from rosecd_jax.conversion.checkpoint import load_any_checkpoint
from rosecd_jax.models.sampling import Sampler, SamplerConfig, enhance_padded, padded_frames
from rosecd_jax.models.score_model import Params, ScoreModel


class Report(NamedTuple):
    """What became of one file: `error` is empty when it was enhanced."""

    source: Path
    target: Path
    seconds: float
    error: str


@dataclasses.dataclass
class Enhancer:
    """A model ready to enhance: `Enhancer.from_checkpoint(path)(wave, sample_rate)`.

    Attributes:
      model, params: what is run.
      sampler: how; resolved for the model.
    """

    model: ScoreModel
    params: Params
    sampler: SamplerConfig = SamplerConfig()

    def __post_init__(self) -> None:
        self.sampler = self.sampler.resolve(self.model)
        self._programs: dict[int, jax.stages.Compiled] = {}

    @classmethod
    def from_checkpoint(
        cls,
        path: str | os.PathLike,
        *,
        weights: Literal["ema", "raw"] = "ema",
        sampler: Sampler = "auto",
        steps: int = 0,
        snr: float = 0.5,
        corrector: Literal["annealed-langevin", "langevin"] = "annealed-langevin",
    ) -> "Enhancer":
        """Load a model. A student runs one step, a teacher 30 predictor-corrector steps, unless told else.

        Args:
          path: one of our checkpoints (a directory), or one of the authors' (a `.ckpt` file).

        Raises:
          CheckpointError, TorchFileError: if there is no such checkpoint.
        """
        model, params = load_any_checkpoint(path, weights)
        return cls(model, params, SamplerConfig(sampler, steps, snr, corrector))

    def __call__(self, wave: np.ndarray, sample_rate: int, *, seed: int = 0) -> np.ndarray:
        """Enhance a wave, each channel by itself.

        Args:
          wave: real [samples] or [channels, samples].
          sample_rate: in Hz; other rates than the model's are converted there and back, so that nothing
            above half the model's rate is left.
          seed: of the noise that the sampler starts from; the same seed gives the same result.

        Returns:
          float32 of the wave's shape, at its rate. Silence stays silence.

        Raises:
          ValueError: if the wave is empty, not finite, or of another shape.
        """
        wave = np.asarray(wave, np.float32)
        if wave.ndim not in (1, 2) or wave.size == 0:
            raise ValueError(
                f"a wave of shape {wave.shape}: expected [samples] or [channels, samples], not empty"
            )
        if not np.isfinite(wave).all():
            raise ValueError("the wave holds NaN or infinite samples; remove them before enhancing")
        channels = np.atleast_2d(wave)
        rate = self.model.front_end.sample_rate
        resampled = io.resample(channels, sample_rate, rate)
        # One channel at a time: a program's shape then depends on the length alone.
        enhanced = np.stack([self._enhance(channel, seed, i) for i, channel in enumerate(resampled)])
        enhanced = np.where(channels.any(-1, keepdims=True), enhanced, 0)
        return io.resample(enhanced, rate, sample_rate, samples=wave.shape[-1]).reshape(wave.shape)

    def _enhance(self, wave: np.ndarray, seed: int, channel: int) -> np.ndarray:
        """float32 [samples] at the model's rate -> float32 [samples]."""
        front = self.model.front_end
        frames = padded_frames(front.frames(wave.size), self.model.config.network.stride)
        padded = np.pad(wave, (0, frames * front.hop - wave.size))[None]
        numbers = np.int32(wave.size), np.uint32(seed % 2**32), np.int32(channel)
        return np.asarray(self._program(frames)(self.params, padded, *numbers))[0, : wave.size]

    def prepare(self, samples: int, sample_rate: int) -> None:
        """Compile what a wave of this length needs, so that the call itself is fast."""
        front = self.model.front_end
        resampled = round(samples * front.sample_rate / sample_rate)
        self._program(padded_frames(front.frames(resampled), self.model.config.network.stride))

    def _program(self, frames: int) -> jax.stages.Compiled:
        """`enhance_padded` compiled for a buffer of `frames` frames; seed and channel make its key."""
        if frames not in self._programs:

            def run(params, wave, samples, seed, channel):
                key = jax.random.fold_in(jax.random.key(seed), channel)
                return enhance_padded(self.model, self.sampler, params, wave, samples[None], key[None])

            wave = jax.ShapeDtypeStruct((1, frames * self.model.front_end.hop), jnp.float32)
            samples, seed, channel = (jax.ShapeDtypeStruct((), d) for d in (jnp.int32, jnp.uint32, jnp.int32))
            self._programs[frames] = jax.jit(run).lower(self.params, wave, samples, seed, channel).compile()
        return self._programs[frames]

    def enhance_file(self, source: str | os.PathLike, target: str | os.PathLike, *, seed: int = 0) -> float:
        """Enhance an audio file into another of its rate, length and channels (and subtype, if it can).

        Returns:
          The length of the file in seconds.

        Raises:
          AudioError: if the source can't be read or the target not be written.
        """
        audio, target = io.read(source), Path(target)
        enhanced = self(audio.wave, audio.sample_rate, seed=seed)
        same_format = target.suffix.lower() == Path(source).suffix.lower()
        io.write(target, enhanced, audio.sample_rate, audio.subtype if same_format else None)
        return audio.wave.shape[-1] / audio.sample_rate

    def enhance_folder(
        self, source: str | os.PathLike, target: str | os.PathLike, *, seed: int = 0
    ) -> Iterator[Report]:
        """Enhance every audio file below a folder, keeping relative paths; yields a report after each.

        A file that can't be read or written is reported, and the others are still enhanced.

        Raises:
          AudioError: if the source holds no audio file.
        """
        source, target = Path(source), Path(target)
        for file in io.find(source):
            goal = target / file.relative_to(source)
            try:
                yield Report(file, goal, self.enhance_file(file, goal, seed=seed), "")
            except ValueError as error:
                yield Report(file, goal, 0.0, str(error))
