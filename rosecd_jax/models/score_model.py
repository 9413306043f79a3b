"""ScoreModel: a config and the pure functions that bind front end, SDE, preconditioning and network."""

import dataclasses
import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp

from rosecd_jax.audio.stft import FrontEnd
from rosecd_jax.config import check_fields
from rosecd_jax.diffusion import preconditioning as scaling
from rosecd_jax.diffusion.preconditioning import Preconditioning
from rosecd_jax.diffusion.sde import OUVE, SDE, per_item
from rosecd_jax.models.initial import initial_params
from rosecd_jax.models.ncsnpp import NCSNpp, NCSNppConfig

Params = Any
"""The network's parameters: a nested dict of arrays, as Flax makes it."""


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """All that is needed to rebuild a model; stored in every checkpoint.

    Attributes:
      role: a "teacher" enhances in many steps (predictor-corrector, or along the bridge), a "student" with
        one network call.
      front_end: between waves and compressed spectrograms.
      sde: the forward process; where it is stored, its field `kind` says which.
      preconditioning: of the network's input and output.
      network: its size.
      corrector_snr: of the Langevin corrector and of the noise between consistency steps, unless a sampler is
        given another.
    """

    role: Literal["teacher", "student"] = "teacher"
    front_end: FrontEnd = FrontEnd()
    sde: SDE = OUVE()
    preconditioning: Preconditioning = Preconditioning()
    network: NCSNppConfig = NCSNppConfig()
    corrector_snr: float = 0.5

    def __post_init__(self) -> None:
        check_fields(self, "model.", above={"corrector_snr": 0})
        if self.network.bins != self.front_end.bins:
            raise ValueError(
                f"the network takes {self.network.bins} bins, the front end makes {self.front_end.bins}: "
                "set model.network.bins and model.front_end.n_fft to agree"
            )


@dataclasses.dataclass(frozen=True)
class ScoreModel:
    """Pure functions of (params, x_t, y, t). Hashable, so it can be a static argument of jit."""

    config: ModelConfig = ModelConfig()

    def __post_init__(self) -> None:
        check_fields(self, "ScoreModel.")

    @property
    def sde(self) -> SDE:
        return self.config.sde

    @property
    def front_end(self) -> FrontEnd:
        return self.config.front_end

    @functools.cached_property
    def network(self) -> NCSNpp:
        return NCSNpp(self.config.network)

    def init(self, key: jax.Array) -> Params:
        """Initial parameters, float32; the same key gives the same parameters on every backend."""
        size = self.config.network
        x = jax.ShapeDtypeStruct((1, size.bins, size.stride, 4), jnp.float32)
        return initial_params(self.network, key, x, jax.ShapeDtypeStruct((1,), jnp.float32))

    def raw(self, params: Params, x_t: jax.Array, y: jax.Array, t: jax.Array) -> jax.Array:
        """The bare network F, nothing scaled. Shapes as `denoise`.

        Raises:
          ValueError: if the bins are not the network's, or the frames no multiple of its stride.
        """
        size = self.config.network
        bins, frames = x_t.shape[-2:]
        if bins != size.bins or frames % size.stride:
            raise ValueError(
                f"spectrogram of {bins} bins and {frames} frames: the network needs {size.bins} bins and "
                f"frames in multiples of {size.stride}; pad on the right"
            )
        channels = jnp.stack([x_t.real, x_t.imag, y.real, y.imag], axis=-1)
        out = jnp.asarray(self.network.apply({"params": params}, channels, t))
        return jax.lax.complex(out[..., 0], out[..., 1])

    def denoise(self, params: Params, x_t: jax.Array, y: jax.Array, t: jax.Array) -> jax.Array:
        """D = c_skip x_t + c_out F(c_in x_t, c_in y, t), or x_t + σ_t² score of a model that gives the score.

        Args:
          params: of the network.
          x_t: state at time t, complex64 [B, F, T].
          y: noisy speech, complex64 [B, F, T].
          t: float32 [B].

        Returns:
          The estimate of the clean speech (an OUVE teacher: of the mean μ_t), complex64 [B, F, T].
        """
        return self.denoised_of(self.raw(params, *self.scaled(x_t, y, t), t), x_t, t)

    def score(self, params: Params, x_t: jax.Array, y: jax.Array, t: jax.Array) -> jax.Array:
        """(D − x_t) / σ_t², of a denoiser that estimates μ_t. Shapes as `denoise`."""
        return self.score_of(self.raw(params, *self.scaled(x_t, y, t), t), x_t, t)

    def scaled(self, x_t: jax.Array, y: jax.Array, t: jax.Array) -> tuple[jax.Array, jax.Array]:
        """(c_in x_t, c_in y): what the bare network is called with. Shapes as `denoise`."""
        gain = scaling.c_in(self.config.preconditioning, per_item(self.sde.std(t), x_t))
        return gain * x_t, gain * y

    def denoised_of(self, raw: jax.Array, x_t: jax.Array, t: jax.Array) -> jax.Array:
        """What `denoise` returns where the bare network gave `raw`, complex64 [B, F, T]."""
        output, sigma = self._output(raw, x_t, t)
        if self.config.preconditioning.output == "denoised":
            return output
        return scaling.denoised_from_score(output, x_t, sigma)

    def score_of(self, raw: jax.Array, x_t: jax.Array, t: jax.Array) -> jax.Array:
        """What `score` returns where the bare network gave `raw`, complex64 [B, F, T]."""
        output, sigma = self._output(raw, x_t, t)
        if self.config.preconditioning.output == "score":
            return output
        return scaling.score_from_denoised(output, x_t, sigma)

    def _output(self, raw: jax.Array, x_t: jax.Array, t: jax.Array) -> tuple[jax.Array, jax.Array]:
        """(c_skip x_t + c_out · scaling · F, σ_t)."""
        config, sigma = self.config.preconditioning, per_item(self.sde.std(t), x_t)
        gain = scaling.c_out(config, sigma) * scaling.network_scaling(config, sigma, per_item(t, x_t))
        return scaling.c_skip(config, sigma) * x_t + gain * raw, sigma
