"""From a raw network F to a denoiser D and a score (Karras et al. 2022, table 1; arXiv 2409.10753).

D(x_t, y, t) = c_skip(σ) x_t + c_out(σ) F(c_in(σ) x_t, c_in(σ) y, t)
score(x_t, y, t) = (D − x_t) / σ²
"""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class Preconditioning:
    """Which scaling stands at each of the three places.

    Attributes:
      c_in: "edm" or "1". ROSE-CD's teacher uses "edm", its student "1".
      c_out: "edm" or "1".
      c_skip: "edm" or "0".
      sigma_data: standard deviation of the data, σ_d.
    """

    c_in: Literal["edm", "1"] = "edm"
    c_out: Literal["edm", "1"] = "edm"
    c_skip: Literal["edm", "0"] = "edm"
    sigma_data: float = 0.1

    def __post_init__(self) -> None:
        for name, choices in (("c_in", ("edm", "1")), ("c_out", ("edm", "1")), ("c_skip", ("edm", "0"))):
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"preconditioning.{name} is {getattr(self, name)!r}, expected one of {choices}"
                )


def c_in(config: Preconditioning, sigma: jax.Array) -> jax.Array:
    """1 / √(σ² + σ_d²), or 1."""
    if config.c_in == "edm":
        return jax.lax.rsqrt(sigma**2 + config.sigma_data**2)
    return jnp.ones_like(sigma)


def c_out(config: Preconditioning, sigma: jax.Array) -> jax.Array:
    """σ σ_d / √(σ² + σ_d²), or 1."""
    if config.c_out == "edm":
        return sigma * config.sigma_data * jax.lax.rsqrt(sigma**2 + config.sigma_data**2)
    return jnp.ones_like(sigma)


def c_skip(config: Preconditioning, sigma: jax.Array) -> jax.Array:
    """σ_d² / (σ² + σ_d²), or 0."""
    if config.c_skip == "edm":
        return config.sigma_data**2 / (sigma**2 + config.sigma_data**2)
    return jnp.zeros_like(sigma)


def score_from_denoised(denoised: jax.Array, x_t: jax.Array, sigma: jax.Array) -> jax.Array:
    """(D − x_t) / σ²; sigma already has the axes that broadcast."""
    return (denoised - x_t) / sigma**2
