"""From noisy to enhanced waves: which sampler, and pure functions for buffers of a fixed shape."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from rosecd_jax.audio.level import level_of_padded
from rosecd_jax.config import check_fields
from rosecd_jax.diffusion import samplers
from rosecd_jax.diffusion.noise import noise_source
from rosecd_jax.diffusion.sde import SBVE
from rosecd_jax.diffusion.solvers import annealed_langevin, langevin_per_item
from rosecd_jax.models.score_model import Params, ScoreModel

Sampler = Literal["auto", "consistency", "pc", "predictor", "ode", "bridge", "bridge-sde"]
CORRECTORS = {"annealed-langevin": annealed_langevin, "langevin": langevin_per_item}
FRAMES = 64
"""Spectrograms are padded to a multiple of this, as in the family's inference."""
BUCKETS = (256, 512, 1024, 1664, 2560, 3840)
"""Frames that programs are compiled for; of files of 0.5 to 20 s they waste a fifth. See `padded_frames`."""


@dataclasses.dataclass(frozen=True)
class SamplerConfig:
    """How a model is run.

    Attributes:
      sampler: "consistency" (a student's); "pc" (predictor-corrector), "predictor" (without corrector) or
        "ode" (probability flow); "bridge" or "bridge-sde" (a Schrödinger bridge's ODE or SDE); or "auto": the
        first of these that goes with the model's role and process.
      steps: of the sampler; 0 for its default, one for "consistency" and the SDE's (30, a bridge's 50) else.
      snr: of the corrector, and of the noise between consistency steps; 0 for the model's `corrector_snr`.
      corrector: of "pc", "annealed-langevin" or "langevin"; the latter with a step for each item, where the
        authors' code shares one in a batch.
    """

    sampler: Sampler = "auto"
    steps: int = 0
    snr: float = 0.0
    corrector: Literal["annealed-langevin", "langevin"] = "annealed-langevin"

    def __post_init__(self) -> None:
        check_fields(self, least={"steps": 0, "snr": 0})

    def resolve(self, model: ScoreModel) -> "SamplerConfig":
        """The same with "auto" and zeros replaced by what they stand for.

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
        snr = self.snr or model.config.corrector_snr
        return dataclasses.replace(self, sampler=sampler, steps=steps, snr=snr)


def signal_key(seed: jax.Array | np.uint32 | int) -> jax.Array:
    """The PRNG key of a signal, from uint32 []; of all of its channels, so that equal ones stay equal."""
    return jax.random.fold_in(jax.random.key(seed), 0)


def enhance_spectrogram(
    model: ScoreModel,
    config: SamplerConfig,
    params: Params,
    y: jax.Array,
    keys: jax.Array,
    first_frames: jax.Array | int = 0,
) -> jax.Array:
    """Run a sampler; pure.

    Args:
      y: noisy compressed spectrograms, complex64 [B, F, T], T a multiple of the network's stride.
      keys: one PRNG key per item [B]; a frame's noise depends on its item's key and its number alone.
      first_frames: the number of each item's first frame, int32 [B], or one for all; not 0 for a window of a
        longer signal.

    Returns:
      Enhanced compressed spectrograms, complex64 [B, F, T].
    """
    config = config.resolve(model)
    sde, steps = model.sde, config.steps
    noise = noise_source(keys, y.shape[1], y.shape[2], first_frames)
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


def enhance_frames(
    model: ScoreModel,
    config: SamplerConfig,
    params: Params,
    wave: jax.Array,
    valid_frames: jax.Array,
    first_frames: jax.Array,
    keys: jax.Array,
) -> jax.Array:
    """Enhance stretches of N whole frames, cut out of signals of any length; pure.

    Args:
      config: resolved.
      wave: float32 [B, `front_end.stretch(N)`], N a multiple of the network's stride. It starts
        `front_end.reach` hops before the center of the stretch's first frame, so that every frame is whole,
        and is scaled by its signal's level, see `audio.level`. Where a signal starts or ends, `n_fft // 2`
        samples of its reflection follow; what lies beyond them is ignored.
      valid_frames: how many of the N frames belong to the signal, int32 [B]; its reflection, by frames,
        stands for the rest.
      first_frames: absolute number of the first frame, int32 [B]; with `keys` it makes the noise.
      keys: one per signal [B].

    Returns:
      float32 [B, N · hop], beginning at the center of the first frame. Where a stretch was cut out of a
      signal, the outermost `n_fft // 2` samples lack a frame. What lies beyond the signal has no meaning.
    """
    front = model.front_end
    frames = wave.shape[-1] // front.hop - front.stretch(0) // front.hop

    def analyze(wave: jax.Array, valid_frames: jax.Array) -> jax.Array:
        y = front.analyze(wave)[..., front.reach : front.reach + frames]
        return reflect_tail(y, valid_frames, frames)

    def synthesize(x: jax.Array, valid_frames: jax.Array) -> jax.Array:
        return front.synthesize(x, frames * front.hop, valid_frames)

    y = jax.vmap(analyze)(wave, valid_frames)
    x = enhance_spectrogram(model, config, params, y, keys, first_frames)
    return jax.vmap(synthesize)(x, valid_frames)


def enhance_padded(
    model: ScoreModel,
    config: SamplerConfig,
    params: Params,
    wave: jax.Array,
    samples: jax.Array,
    keys: jax.Array,
) -> jax.Array:
    """Enhance whole signals that stand at the left of a buffer; pure, of one shape for all that fit in.

    Args:
      config: resolved.
      wave: float32 [B, buffer], the buffer a multiple of the network's stride in hops; what lies beyond
        `samples` is ignored.
      samples: the true lengths, int32 [B], less than the buffer.
      keys: [B].

    Returns:
      float32 [B, buffer]; what lies beyond `samples` has no meaning. Silence stays silence.
    """
    front = model.front_end
    before, more = front.reach * front.hop, front.stretch(0)
    offset, level = (part[:, None] for part in level_of_padded(wave, samples, front.sample_rate))
    scaled = (wave - offset) / jnp.where(level > 0, level, 1)

    def reflect_edges(wave: jax.Array, samples: jax.Array) -> jax.Array:
        longer = jnp.pad(wave, (0, more - before))
        return jnp.pad(reflect_tail(longer, samples, front.n_fft // 2), (before, 0), mode="reflect")

    reflected = jax.vmap(reflect_edges)(scaled, samples)
    firsts = jnp.zeros_like(samples)
    return enhance_frames(model, config, params, reflected, 1 + samples // front.hop, firsts, keys) * level


def reflect_tail(x: jax.Array, length: jax.Array, most: int) -> jax.Array:
    """Fill [..., length:] of an array by reflection about its last valid element, at most `most` elements.

    What reflection doesn't reach (the array is too short, or `most` is passed) becomes zero.
    """
    position = jnp.arange(x.shape[-1])
    mirrored = 2 * (length - 1) - position
    filled = jnp.where(mirrored >= 0, jnp.take(x, jnp.clip(mirrored, 0), axis=-1), 0)
    filled = jnp.where(position < length + most, filled, 0)
    return jnp.where(position < length, x, filled)


def padded_frames(frames: int, stride: int, buckets: Sequence[int] = BUCKETS) -> int:
    """The frames that a signal of `frames` frames is padded to: the least of `buckets` that holds it.

    Beyond the last: multiples of 64. Always multiples of the network's stride. Without buckets, that is the
    padding of the papers, with a program for every length. What a signal becomes depends on its padding
    (GroupNorm sees it), so validation and inference pad alike.
    """
    unit = max(FRAMES, stride)
    size = next((size for size in sorted(buckets) if size >= frames), frames)
    return -(-size // unit) * unit


def wet_share(strength: float = 1.0, attenuation_limit: float | None = None) -> float:
    """The share of the model's output in what is given; the rest of it is the input.

    Args:
      strength: 0 leaves the input as it is, 1 gives the model's output.
      attenuation_limit: dB by which noise that the model removes is lowered at most; None for no limit.

    Raises:
      ValueError: if the strength is not from 0 to 1, or the limit is negative or not a number.
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"strength is {strength}, it has to be from 0 (the input) to 1 (the model's output)")
    if attenuation_limit is None:
        return strength
    if not attenuation_limit >= 0:
        raise ValueError(f"attenuation_limit is {attenuation_limit} dB, it has to be 0 or more")
    return strength * (1 - 10 ** (-attenuation_limit / 20))


def blend(enhanced: NDArray[np.float32], noisy: NDArray[np.float32], wet: float) -> NDArray[np.float32]:
    """wet · enhanced + (1 − wet) · noisy, float32 of one shape, aligned; exactly one of them at 1 and 0."""
    if wet == 1:
        return enhanced
    return (wet * enhanced + (1 - wet) * noisy).astype(np.float32)
