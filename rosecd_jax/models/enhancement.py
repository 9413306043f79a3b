"""Enhancement of waves: samplers, and pure functions for buffers of fixed shape."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32, Int32, Key
from numpy.typing import NDArray

from rosecd_jax.arrays import Array, Spectrogram
from rosecd_jax.audio.level import level_of_padded
from rosecd_jax.config import check_fields
from rosecd_jax.diffusion import samplers
from rosecd_jax.diffusion.noise import noise_source
from rosecd_jax.diffusion.sde import SBVE
from rosecd_jax.diffusion.solvers import annealed_langevin, langevin_per_item
from rosecd_jax.models.score_model import Params, ScoreModel

Sampler = Literal["auto", "consistency", "pc", "predictor", "ode", "bridge", "bridge-sde"]
CORRECTORS = {"annealed-langevin": annealed_langevin, "langevin": langevin_per_item}
MOST_STEPS = 1000
"""Maximum steps of a sampler; the published ones take 50 or fewer."""
FRAMES = 64
"""Spectrograms are padded to a multiple of this many frames, as in the inference of the SGMSE+ family."""
BUCKETS = (256, 512, 1024, 1664, 2560, 3840)
"""Frames that programs are compiled for; padding files of 0.5 to 20 s wastes a fifth. See `padded_frames`."""


@dataclasses.dataclass(frozen=True)
class SamplerConfig:
    """Sampler of a model.

    Attributes:
      sampler: "consistency" (for students); "pc" (predictor-corrector), "predictor" (without corrector) or
        "ode" (probability flow); "bridge" or "bridge-sde" (a Schrödinger bridge's ODE or SDE); or "auto": the
        first of these that fits the model's role and process.
      steps: number of steps; 0 for the default, which is 1 for "consistency" and the SDE's `steps` (30, or 50
        for a bridge) otherwise.
      snr: snr of the corrector, and of the noise between consistency steps; 0: the model's `corrector_snr`.
      corrector: corrector of "pc": "annealed-langevin", or "langevin" with a step size per item, unlike the
        authors' code, which uses one for the whole batch.
    """

    sampler: Sampler = "auto"
    steps: int = 0
    snr: float = 0.0
    corrector: Literal["annealed-langevin", "langevin"] = "annealed-langevin"

    def __post_init__(self) -> None:
        check_fields(self, least={"steps": 0, "snr": 0})

    @property
    def network_calls(self) -> int:
        """Number of network calls for one signal; only for a resolved config."""
        calls = {"pc": 2 * self.steps, "ode": 2 * self.steps + 1}  # the ODE ends with a predictor step
        return calls.get(self.sampler, self.steps)

    def resolve(self, model: ScoreModel) -> "SamplerConfig":
        """Replace "auto" and zeros by the model's defaults.

        Raises:
          ValueError: if the sampler doesn't fit the model's process, or has too many steps.
        """
        bridge = isinstance(model.sde, SBVE)
        many_steps = "bridge" if bridge else "pc"
        by_role = "consistency" if model.config.role == "student" else many_steps
        sampler = by_role if self.sampler == "auto" else self.sampler
        if sampler != "consistency" and sampler.startswith("bridge") != bridge:
            raise ValueError(f"sampler {sampler!r} doesn't go with this model's process; try {many_steps!r}")
        steps = self.steps or (1 if sampler == "consistency" else model.sde.steps)
        if steps > MOST_STEPS:
            raise ValueError(f"{steps} sampler steps: expected at most {MOST_STEPS}")
        if sampler == "consistency" and bridge and steps > 1:
            raise ValueError(f"{steps} consistency steps: a bridge's student runs one")
        snr = self.snr or model.config.corrector_snr
        return dataclasses.replace(self, sampler=sampler, steps=steps, snr=snr)


def signal_key(seed: jax.Array | np.uint32 | int) -> jax.Array:
    """Make a signal's PRNG key from uint32 []; all channels share it, so that equal ones stay equal."""
    return jax.random.fold_in(jax.random.key(seed), 0)


def enhance_spectrogram(
    model: ScoreModel,
    config: SamplerConfig,
    params: Params,
    y: Spectrogram,
    keys: Key[Array, " B"],
    first_frames: Int32[Array, " B"] | int = 0,
) -> Spectrogram:
    """Run a sampler; pure.

    Args:
      y: noisy compressed spectrograms, complex64 [B, F, T], T a multiple of the network's stride.
      keys: one PRNG key per item [B]; a frame's noise depends only on its item's key and its number.
      first_frames: number of each item's first frame, int32 [B], or one for all; nonzero for a window of a
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
    wave: Float32[Array, "B stretched"],
    valid_frames: Int32[Array, " B"],
    first_frames: Int32[Array, " B"],
    keys: Key[Array, " B"],
) -> Float32[Array, "B samples"]:
    """Enhance sections of N whole frames of signals of any length; pure.

    Args:
      config: sampler settings without "auto" and zeros, see `SamplerConfig.resolve`.
      wave: float32 [B, `front_end.stretch(N)`], N a multiple of the network's stride. It starts
        `front_end.reach` hops before the center of the first frame, so that every frame is whole, and is
        divided by its signal's level, see `audio.level`. Beyond a signal's start or end, it holds
        `n_fft // 2` samples of its reflection; the rest is ignored.
      valid_frames: number of the N frames that belong to the signal, int32 [B]; the others are replaced by
        its reflection, by frames.
      first_frames: absolute number of the first frame, int32 [B]; with `keys` it determines the noise.
      keys: one per signal [B].

    Returns:
      float32 [B, N · hop], starting at the center of the first frame. Inside a longer signal, the outermost
      `n_fft // 2` samples lack the contribution of the frames outside the section. Samples beyond the signal
      are arbitrary.
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
    wave: Float32[Array, "B buffer"],
    samples: Int32[Array, " B"],
    keys: Key[Array, " B"],
) -> Float32[Array, "B buffer"]:
    """Enhance whole signals, padded on the right to a buffer; pure.

    Args:
      config: sampler settings without "auto" and zeros, see `SamplerConfig.resolve`.
      wave: float32 [B, buffer], the buffer a multiple of the network's stride in hops; samples beyond
        `samples` are ignored.
      samples: the true lengths, int32 [B], less than the buffer.
      keys: [B].

    Returns:
      float32 [B, buffer], arbitrary beyond `samples`. Silence stays silence.
    """
    front = model.front_end
    before, more = front.reach * front.hop, front.stretch(0)
    level = level_of_padded(wave, samples, front.sample_rate)

    def reflect_edges(wave: jax.Array, samples: jax.Array) -> jax.Array:
        longer = jnp.pad(wave, (0, more - before))
        return jnp.pad(reflect_tail(longer, samples, front.n_fft // 2), (before, 0), mode="reflect")

    reflected = jax.vmap(reflect_edges)(level.scaled(wave, jnp), samples)
    firsts = jnp.zeros_like(samples)
    enhanced = enhance_frames(model, config, params, reflected, 1 + samples // front.hop, firsts, keys)
    return enhanced * level.scale[:, None]


def reflect_tail(x: jax.Array, length: jax.Array, most: int) -> jax.Array:
    """Fill [..., length:] of an array with at most `most` elements, reflected about the last valid element.

    Elements that reflection doesn't reach (for short arrays, or beyond `most`) become zero.
    """
    position = jnp.arange(x.shape[-1])
    mirrored = 2 * (length - 1) - position
    filled = jnp.where(mirrored >= 0, jnp.take(x, jnp.clip(mirrored, 0), axis=-1), 0)
    filled = jnp.where(position < length + most, filled, 0)
    return jnp.where(position < length, x, filled)


def padded_frames(frames: int, stride: int, buckets: Sequence[int] = BUCKETS) -> int:
    """Return the number of frames that a signal is padded to: the smallest of `buckets` that holds it.

    Beyond the largest: multiples of 64, and always of the network's stride. Without buckets, that is the
    padding of the papers, with a program for every length. The result depends on the padding (through
    GroupNorm), so validation and inference pad alike.
    """
    unit = max(FRAMES, stride)
    size = next((size for size in sorted(buckets) if size >= frames), frames)
    return -(-size // unit) * unit


def wet_share(strength: float = 1.0, attenuation_limit: float | None = None) -> float:
    """Return the share of the model's output in the result; the rest is the input.

    Args:
      strength: from 0, the input, to 1, the model's output.
      attenuation_limit: maximum attenuation, in dB, of noise that the model removes; None for no limit.

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
    """Return wet · enhanced + (1 − wet) · noisy, for aligned float32 waves of one shape; exact at 1 and 0."""
    if wet == 1:
        return enhanced
    return (wet * enhanced + (1 - wet) * noisy).astype(np.float32)
