"""Enhancer: a loaded model applied to arrays, files and folders."""

import dataclasses
import functools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from rosecd_jax.audio import io
from rosecd_jax.conversion.checkpoint import load_any_checkpoint
from rosecd_jax.diffusion import samplers
from rosecd_jax.diffusion.noise import noise_source
from rosecd_jax.diffusion.sde import SBVE
from rosecd_jax.diffusion.solvers import annealed_langevin, langevin
from rosecd_jax.models.score_model import Params, ScoreModel

Sampler = Literal["auto", "consistency", "pc", "predictor", "ode", "bridge", "bridge-sde"]
CORRECTORS = {"annealed-langevin": annealed_langevin, "langevin": langevin}
FRAMES = 64
"""Spectrograms are padded to a multiple of this, as in the family's inference."""


@dataclasses.dataclass(frozen=True)
class SamplerConfig:
    """How a model is run.

    Attributes:
      sampler: "consistency" (a student's); "pc" (predictor-corrector), "predictor" (without corrector) or
        "ode" (probability flow); "bridge" or "bridge-sde" (a Schrödinger bridge's ODE or SDE); or "auto": the
        first of these that goes with the model's role and process.
      steps: of the sampler; 0 for its default, one for "consistency" and the SDE's (30, a bridge's 50) else.
      snr: of the corrector, and of the noise between consistency steps.
      corrector: of "pc", "annealed-langevin" or "langevin".
    """

    sampler: Sampler = "auto"
    steps: int = 0
    snr: float = 0.5
    corrector: Literal["annealed-langevin", "langevin"] = "annealed-langevin"

    def __post_init__(self) -> None:
        for name, choices in (("sampler", get_args(Sampler)), ("corrector", tuple(CORRECTORS))):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} {getattr(self, name)!r}: expected one of {', '.join(choices)}")
        if self.steps < 0:
            raise ValueError(f"steps is {self.steps}, it can't be negative")

    def resolve(self, model: ScoreModel) -> "SamplerConfig":
        """The same with "auto" and 0 replaced by what they stand for.

        Raises:
          ValueError: if the sampler doesn't go with the model's process.
        """
        bridge = isinstance(model.sde, SBVE)
        many_steps = "bridge" if bridge else "pc"
        by_role = "consistency" if model.config.role == "student" else many_steps
        sampler = by_role if self.sampler == "auto" else self.sampler
        if sampler != "consistency" and sampler.startswith("bridge") != bridge:
            raise ValueError(f"sampler {sampler!r} doesn't go with this model's process; try {many_steps!r}")
        steps = self.steps or (1 if sampler == "consistency" else model.sde.steps)
        if sampler == "consistency" and bridge and steps > 1:
            raise ValueError(f"{steps} consistency steps: a bridge's student runs one")
        return dataclasses.replace(self, sampler=sampler, steps=steps)


def enhance_spectrogram(
    model: ScoreModel, config: SamplerConfig, params: Params, y: jax.Array, keys: jax.Array
) -> jax.Array:
    """Run a resolved sampler; pure.

    Args:
      y: noisy compressed spectrograms, complex64 [B, F, T], T a multiple of the network's stride.
      keys: one PRNG key per item [B]; a frame's noise depends on its item's key and its number alone.

    Returns:
      Enhanced compressed spectrograms, complex64 [B, F, T].
    """
    sde, steps = model.sde, config.steps
    noise = noise_source(keys, y.shape[1], y.shape[2])
    denoise, score = (functools.partial(f, params) for f in (model.denoise, model.score))
    if config.sampler == "consistency":
        return samplers.consistency(denoise, sde, y, noise, steps, config.snr)
    if isinstance(sde, SBVE):
        if config.sampler == "bridge":
            return samplers.bridge_probability_flow(denoise, sde, y, steps)
        return samplers.bridge_diffusion(denoise, sde, y, noise, steps)
    if config.sampler == "predictor":
        return samplers.predictor_only(score, sde, y, noise, steps)
    if config.sampler == "ode":
        return samplers.probability_flow(score, sde, y, noise, steps)
    corrector = CORRECTORS[config.corrector]
    return samplers.predictor_corrector(score, sde, y, noise, steps, config.snr, corrector)


def enhance_padded(
    model: ScoreModel,
    config: SamplerConfig,
    params: Params,
    wave: jax.Array,
    samples: jax.Array,
    keys: jax.Array,
) -> jax.Array:
    """Enhance waves that stand at the left of a buffer; pure, and of one shape for all lengths that fit in.

    Args:
      wave: float32 [B, buffer], what lies behind `samples` is ignored.
      samples: the true length, int32 scalar.
      keys: [B].

    Returns:
      float32 [B, buffer]; what lies behind `samples` has no meaning.
    """
    front = model.front_end
    buffer = wave.shape[-1]
    peak = jnp.max(jnp.abs(wave), axis=-1, keepdims=True)
    peak = jnp.where(peak > 0, peak, 1.0)
    wave = reflect_tail(wave / peak, samples, front.n_fft // 2)
    y = front.analyse(wave)
    frames = front.frames(buffer)
    valid_frames = 1 + samples // front.hop
    y = reflect_tail(y, valid_frames, frames)[..., : frames - 1]
    x = enhance_spectrogram(model, config, params, y, keys)
    return front.synthesise(x, buffer, valid_frames) * peak


def reflect_tail(x: jax.Array, length: jax.Array, most: int) -> jax.Array:
    """Fill [..., length:] of an array by reflection about its last valid element, at most `most` elements.

    What reflection doesn't reach (the array is too short, or `most` is passed) becomes zero.
    """
    position = jnp.arange(x.shape[-1])
    mirrored = 2 * (length - 1) - position
    filled = jnp.where(mirrored >= 0, jnp.take(x, jnp.clip(mirrored, 0), axis=-1), 0)
    filled = jnp.where(position < length + most, filled, 0)
    return jnp.where(position < length, x, filled)


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
                return enhance_padded(self.model, self.sampler, params, wave, samples, key[None])

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


def padded_frames(frames: int, stride: int) -> int:
    """The least count of frames that holds `frames`, out of 1, 2, 3, 4, 6, 8, 12, 16, … times 64.

    So a folder of files of all lengths compiles two programs per octave, and wastes a third at most.
    """
    unit = max(FRAMES, stride)
    size = 1
    while size * unit < frames:
        size = size + 1 if size < 4 else size * 3 // 2 if size & (size - 1) == 0 else size * 4 // 3
    return size * unit
