"""Preconditioning from a network F to denoiser and score (Karras et al. 2022, arXiv 2206.00364; 2409.10753).

G(x_t, y, t) = c_skip(σ) x_t + c_out(σ) scaling F(c_in(σ) x_t, c_in(σ) y, t), with scaling 1, 1/σ or 1/t

G is the denoiser D or the score, depending on the training; the other follows from score = (D − x_t) / σ².
"""

import dataclasses
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Complex64, Float32

from rosecd_jax.arrays import Array
from rosecd_jax.config import check_fields

CIn = Literal["edm", "1"]
COut = Literal["edm", "1", "-1", "sigma", "1/sigma"]
CSkip = Literal["edm", "0", "1"]
NetworkScaling = Literal["1", "1/sigma", "1/t"]
Output = Literal["denoised", "score"]
Sigmas = Float32[Array, "*sigma"]
Whole = Complex64[Array, "*shape"]
Spread = Float32[Array, "*#shape"]
"""Standard deviations with the axes that broadcast to a state's shape."""


@dataclasses.dataclass(frozen=True)
class Preconditioning:
    """Scalings of a network. The defaults are those of Karras et al. and of ROSE-CD's teacher.

    Attributes:
      c_in: "edm" or "1" (ROSE-CD's student).
      c_out: "edm", "1", "sigma", "1/sigma", or "-1" (SGMSE+, whose network estimates minus the score).
      c_skip: "edm", "0" or "1".
      sigma_data: standard deviation of the data, σ_d.
      network_scaling: factor of the network's output, in addition to c_out: "1", "1/sigma" or "1/t".
      output: meaning of the result, "denoised" or "score".
    """

    c_in: CIn = "edm"
    c_out: COut = "edm"
    c_skip: CSkip = "edm"
    sigma_data: float = 0.1
    network_scaling: NetworkScaling = "1"
    output: Output = "denoised"

    def __post_init__(self) -> None:
        check_fields(self, "preconditioning.", above={"sigma_data": 0})


class EDMScalings(NamedTuple):
    """Scalings of Karras et al., each of sigma's shape."""

    c_in: Sigmas
    c_out: Sigmas
    c_skip: Sigmas


def edm_scalings(sigma: Sigmas, sigma_data: float) -> EDMScalings:
    """Compute c_in, c_out and c_skip of EDM (Karras et al. 2022, table 1).

    c_in = 1 / √(σ² + σ_d²), c_out = σ σ_d / √(σ² + σ_d²) and c_skip = σ_d² / (σ² + σ_d²) give the network's
    input and its target unit variance. The corresponding loss weight is λ(σ) = 1 / c_out².
    """
    variance = sigma**2 + sigma_data**2
    inverse = jax.lax.rsqrt(variance)
    return EDMScalings(c_in=inverse, c_out=sigma * sigma_data * inverse, c_skip=sigma_data**2 / variance)


def c_in(config: Preconditioning, sigma: Sigmas) -> Sigmas:
    """Compute c_in: 1 / √(σ² + σ_d²), as in `edm_scalings`, or 1."""
    if config.c_in == "edm":
        return edm_scalings(sigma, config.sigma_data).c_in
    return jnp.ones_like(sigma)


def c_out(config: Preconditioning, sigma: Sigmas) -> Sigmas:
    """Compute c_out: σ, 1/σ, ±1, or σ σ_d / √(σ² + σ_d²) as in `edm_scalings`."""
    if config.c_out == "edm":
        return edm_scalings(sigma, config.sigma_data).c_out
    if config.c_out == "sigma":
        return sigma
    if config.c_out == "1/sigma":
        return 1 / sigma
    return jnp.full_like(sigma, float(config.c_out))


def c_skip(config: Preconditioning, sigma: Sigmas) -> Sigmas:
    """Compute c_skip: σ_d² / (σ² + σ_d²), as in `edm_scalings`, 0 or 1."""
    if config.c_skip == "edm":
        return edm_scalings(sigma, config.sigma_data).c_skip
    return jnp.full_like(sigma, float(config.c_skip))


def network_scaling(config: Preconditioning, sigma: Sigmas, t: Sigmas) -> Sigmas:
    """Compute the factor of the network's output: 1, 1/σ or 1/t (arXiv 2409.10753, below eq. 7)."""
    if config.network_scaling == "1/sigma":
        return 1 / sigma
    if config.network_scaling == "1/t":
        return 1 / t
    return jnp.ones_like(sigma)


def score_from_denoised(denoised: Whole, x_t: Whole, sigma: Spread) -> Whole:
    """Compute the score (D − x_t) / σ² (arXiv 2409.10753, eq. 10)."""
    return (denoised - x_t) / sigma**2


def denoised_from_score(score: Whole, x_t: Whole, sigma: Spread) -> Whole:
    """Compute D = x_t + σ² score (arXiv 2409.10753, eq. 10), the inverse of `score_from_denoised`."""
    return x_t + sigma**2 * score
