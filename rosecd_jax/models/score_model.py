"""ScoreModel: pure functions that combine front end, SDE, preconditioning and network."""

import dataclasses
import functools
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float32, Key

from rosecd_jax.arrays import Array, Spectrogram
from rosecd_jax.audio.stft import FrontEnd
from rosecd_jax.config import check_fields
from rosecd_jax.diffusion import preconditioning as scaling
from rosecd_jax.diffusion.preconditioning import Preconditioning
from rosecd_jax.diffusion.sde import OUVE, SDE, per_item
from rosecd_jax.models.initial import initial_params
from rosecd_jax.models.ncsnpp import NCSNpp, NCSNppConfig
from rosecd_jax.models.own_network import OwnNetwork, init_own

OfItems = Float32[Array, " B"]
Sigmas = Float32[Array, "B 1 1"]
Params = Any
"""The network's parameters: a nested dict of arrays, as in Flax."""


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Definition of a model; stored in every checkpoint.

    Attributes:
      role: a "teacher" enhances in many steps (predictor-corrector, or along the bridge), a "student" with
        one network call.
      front_end: conversion between waves and compressed spectrograms.
      sde: the forward process; the field `kind` identifies its class.
      preconditioning: scalings of the network's input and output.
      network: size of the network.
      corrector_snr: default snr of samplers, for the Langevin corrector and the noise between consistency
        steps.
      own_network: `OwnNetwork.of(module)` of a model with a custom network; `network` is then ignored.
    """

    role: Literal["teacher", "student"] = "teacher"
    front_end: FrontEnd = FrontEnd()
    sde: SDE = OUVE()
    preconditioning: Preconditioning = Preconditioning()
    network: NCSNppConfig = NCSNppConfig()
    corrector_snr: float = 0.5
    own_network: OwnNetwork | None = None

    def __post_init__(self) -> None:
        check_fields(self, "model.", above={"corrector_snr": 0})
        if self.own_network is None and self.network.bins != self.front_end.bins:
            raise ValueError(
                f"the network takes {self.network.bins} bins, the front end makes {self.front_end.bins}: "
                "set model.network.bins and model.front_end.n_fft to agree"
            )

    @property
    def stride(self) -> int:
        """Divisor of the number of frames."""
        return self.own_network.stride if self.own_network else self.network.stride


@dataclasses.dataclass(frozen=True)
class ScoreModel:
    """Pure functions of (params, x_t, y, t). Hashable, so it can be a static argument of jit.

    Attributes:
      config: config of the model; with `module`, its `own_network` is filled in.
      module: a Flax module that replaces NCSN++, see `OwnNetwork`; None: NCSN++.

    Raises:
      ValueError: if the module is invalid, or not the one that the config describes.
    """

    config: ModelConfig = ModelConfig()
    module: nn.Module | None = None

    def __post_init__(self) -> None:
        check_fields(self, "ScoreModel.")
        if self.module is None:
            return
        given, noted = OwnNetwork.of(self.module), self.config.own_network
        if noted and not noted.same(given):
            raise ValueError(f"the model's network is {noted}, but {given} was given")
        config = dataclasses.replace(self.config, own_network=given)
        object.__setattr__(self, "config", config)  # frozen

    @property
    def sde(self) -> SDE:
        return self.config.sde

    @property
    def front_end(self) -> FrontEnd:
        return self.config.front_end

    @functools.cached_property
    def network(self) -> nn.Module:
        """The Flax module.

        Raises:
          ValueError: if the model needs a custom network that was not given.
        """
        if self.module is None and self.config.own_network:
            raise ValueError(
                f"this model's network is {self.config.own_network}, which is not part of the package: give "
                "that module, as in load_checkpoint(path, network=...), Enhancer.from_checkpoint(path, "
                "network=...) or on the command line --network FILE.py:NAME"
            )
        return NCSNpp(self.config.network) if self.module is None else self.module

    def init(self, key: Key[Array, ""]) -> Params:
        """Initialize float32 parameters; the same key gives the same parameters on every backend.

        A custom module uses its own initializers.
        """
        if self.config.own_network:
            return init_own(self.network, key, self.front_end.bins, self.config.stride)
        size = self.config.network
        x = jax.ShapeDtypeStruct((1, size.bins, size.stride, 4), jnp.float32)
        return initial_params(self.network, key, x, jax.ShapeDtypeStruct((1,), jnp.float32))

    def raw(self, params: Params, x_t: Spectrogram, y: Spectrogram, t: OfItems) -> Spectrogram:
        """Call the bare network F without preconditioning.

        Raises:
          ValueError: if the bins are not the network's, or the frames not a multiple of its stride.
        """
        wanted, stride = self.front_end.bins, self.config.stride
        bins, frames = x_t.shape[-2:]
        if bins != wanted or frames % stride:
            raise ValueError(
                f"spectrogram of {bins} bins and {frames} frames: the network needs {wanted} bins and "
                f"frames in multiples of {stride}; pad on the right"
            )
        channels = jnp.stack([x_t.real, x_t.imag, y.real, y.imag], axis=-1)
        out = jnp.asarray(self.network.apply({"params": params}, channels, t), jnp.float32)
        return jax.lax.complex(out[..., 0], out[..., 1])

    def denoise(self, params: Params, x_t: Spectrogram, y: Spectrogram, t: OfItems) -> Spectrogram:
        """Compute the denoised estimate D(x_t, y, t), with the model's preconditioning.

        D is s = c_skip x_t + c_out scaling F(c_in x_t, c_in y, t), or x_t + σ_t² s if the output is a score.

        Args:
          params: the network's parameters.
          x_t: state at time t.
          y: noisy speech.
          t: one time for each item.

        Returns:
          The estimate of the clean speech (an OUVE teacher: of the mean μ_t).
        """
        return self.denoised_of(self.raw(params, *self.scaled(x_t, y, t), t), x_t, t)

    def score(self, params: Params, x_t: Spectrogram, y: Spectrogram, t: OfItems) -> Spectrogram:
        """Compute the score (D − x_t) / σ_t²; D must estimate μ_t, as that of a diffusion teacher does."""
        return self.score_of(self.raw(params, *self.scaled(x_t, y, t), t), x_t, t)

    def scaled(self, x_t: Spectrogram, y: Spectrogram, t: OfItems) -> tuple[Spectrogram, Spectrogram]:
        """Compute (c_in x_t, c_in y), the inputs of the bare network."""
        gain = scaling.c_in(self.config.preconditioning, per_item(self.sde.std(t), x_t))
        return gain * x_t, gain * y

    def denoised_of(self, raw: Spectrogram, x_t: Spectrogram, t: OfItems) -> Spectrogram:
        """Return the result of `denoise`, given the bare network's output."""
        output, sigma = self._output(raw, x_t, t)
        if self.config.preconditioning.output == "denoised":
            return output
        return scaling.denoised_from_score(output, x_t, sigma)

    def score_of(self, raw: Spectrogram, x_t: Spectrogram, t: OfItems) -> Spectrogram:
        """Return the result of `score`, given the bare network's output."""
        output, sigma = self._output(raw, x_t, t)
        if self.config.preconditioning.output == "score":
            return output
        return scaling.score_from_denoised(output, x_t, sigma)

    def _output(self, raw: Spectrogram, x_t: Spectrogram, t: OfItems) -> tuple[Spectrogram, Sigmas]:
        """Compute (c_skip x_t + c_out · scaling · F, σ_t)."""
        config, sigma = self.config.preconditioning, per_item(self.sde.std(t), x_t)
        gain = scaling.c_out(config, sigma) * scaling.network_scaling(config, sigma, per_item(t, x_t))
        return scaling.c_skip(config, sigma) * x_t + gain * raw, sigma
