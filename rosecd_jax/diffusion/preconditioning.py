"""From a raw network F to a denoiser D and a score (Karras et al. 2022, table 1; arXiv 2409.10753).

G(x_t, y, t) = c_skip(σ) x_t + c_out(σ) F(c_in(σ) x_t, c_in(σ) y, t) / scaling

G is the denoiser D or the score, whichever the network was trained as; the other follows from
score = (D − x_t) / σ².
"""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp

from rosecd_jax.config import check_fields

CIn = Literal["edm", "1"]
COut = Literal["edm", "1", "-1", "sigma", "1/sigma"]
CSkip = Literal["edm", "0", "1"]
NetworkScaling = Literal["1", "1/sigma", "1/t"]
Output = Literal["denoised", "score"]


@dataclasses.dataclass(frozen=True)
class Preconditioning:
    """Which scaling stands at each place. The defaults are Karras et al.'s, and those of ROSE-CD's teacher.

    Attributes:
      c_in: "edm" or "1" (ROSE-CD's student).
      c_out: "edm", "1", "sigma", "1/sigma", or "-1" (SGMSE+, whose network gives minus the score).
      c_skip: "edm", "0" or "1".
      sigma_data: standard deviation of the data, σ_d.
      network_scaling: what the network's output is multiplied by before all this: "1", "1/sigma" or "1/t".
      output: what the result is, "denoised" or "score".
    """

    c_in: CIn = "edm"
    c_out: COut = "edm"
    c_skip: CSkip = "edm"
    sigma_data: float = 0.1
    network_scaling: NetworkScaling = "1"
    output: Output = "denoised"

    def __post_init__(self) -> None:
        check_fields(self, "preconditioning.", above={"sigma_data": 0})


def c_in(config: Preconditioning, sigma: jax.Array) -> jax.Array:
    """1 / √(σ² + σ_d²), or 1."""
    if config.c_in == "edm":
        return jax.lax.rsqrt(sigma**2 + config.sigma_data**2)
    return jnp.ones_like(sigma)


def c_out(config: Preconditioning, sigma: jax.Array) -> jax.Array:
    """σ σ_d / √(σ² + σ_d²), σ, 1/σ, or ±1."""
    if config.c_out == "edm":
        return sigma * config.sigma_data * jax.lax.rsqrt(sigma**2 + config.sigma_data**2)
    if config.c_out == "sigma":
        return sigma
    if config.c_out == "1/sigma":
        return 1 / sigma
    return jnp.full_like(sigma, float(config.c_out))


def c_skip(config: Preconditioning, sigma: jax.Array) -> jax.Array:
    """σ_d² / (σ² + σ_d²), 0 or 1."""
    if config.c_skip == "edm":
        return config.sigma_data**2 / (sigma**2 + config.sigma_data**2)
    return jnp.full_like(sigma, float(config.c_skip))


def network_scaling(config: Preconditioning, sigma: jax.Array, t: jax.Array) -> jax.Array:
    """1, 1/σ or 1/t; t has sigma's shape."""
    if config.network_scaling == "1/sigma":
        return 1 / sigma
    if config.network_scaling == "1/t":
        return 1 / t
    return jnp.ones_like(sigma)


def score_from_denoised(denoised: jax.Array, x_t: jax.Array, sigma: jax.Array) -> jax.Array:
    """(D − x_t) / σ²; sigma already has the axes that broadcast."""
    return (denoised - x_t) / sigma**2


def denoised_from_score(score: jax.Array, x_t: jax.Array, sigma: jax.Array) -> jax.Array:
    """x_t + σ² score, the inverse of `score_from_denoised`."""
    return x_t + sigma**2 * score
