"""Objectives of teachers: prediction of the forward process's mean, its score, or the clean speech."""

import dataclasses
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Complex64, Float32, Key

from rosecd_jax.arrays import Array, Spectrogram
from rosecd_jax.config import check_fields
from rosecd_jax.diffusion.noise import complex_normal
from rosecd_jax.diffusion.sde import per_item
from rosecd_jax.losses.batch import Batch
from rosecd_jax.losses.pesq import pesq_loss
from rosecd_jax.models.score_model import Params, ScoreModel

Weighting = Literal["edm", "1", "sigma^2"]
Scalar = Float32[Array, ""]
Terms = dict[str, Scalar]


class ScoreDraws(NamedTuple):
    """Random numbers of one step; t is in [t_eps, 1]."""

    t: Float32[Array, " B"]
    z: Spectrogram


def draw_score(key: Key[Array, ""], shape: tuple[int, ...], model: ScoreModel) -> ScoreDraws:
    """Draw times uniform in [t_eps, 1] and circular noise for a batch of `shape` [B, F, T]."""
    key_t, key_z = jax.random.split(key)
    t = jax.random.uniform(key_t, shape[:1], minval=model.sde.t_eps, maxval=model.sde.end_time)
    return ScoreDraws(t, complex_normal(key_z, shape))


class Perturbed(NamedTuple):
    """x_t = μ_t + σ_t z, μ_t and σ_t."""

    x_t: Spectrogram
    mean: Spectrogram
    sigma: Float32[Array, "B 1 1"]


def perturb(model: ScoreModel, batch: Batch, t: Float32[Array, " B"], z: Spectrogram) -> Perturbed:
    """Sample the perturbation kernel at t, with noise z."""
    mean = model.sde.mean(batch.x0, batch.y, t)
    sigma = per_item(model.sde.std(t), mean)
    return Perturbed(mean + sigma * z, mean, sigma)


def squared(error: Complex64[Array, "*shape"]) -> Float32[Array, "*shape"]:
    """Compute |error|² of complex numbers, with a zero (not NaN) gradient at zero."""
    return jnp.square(error.real) + jnp.square(error.imag)


def edm_weight(sigma: Float32[Array, "*shape"], sigma_data: float) -> Float32[Array, "*shape"]:
    """Compute λ(σ) = (σ² + σ_d²) / (σ σ_d)² = 1 / c_out² (Karras et al. 2022, table 1)."""
    return (sigma**2 + sigma_data**2) / (sigma * sigma_data) ** 2


@dataclasses.dataclass(frozen=True)
class DenoiserConfig:
    """Constants of the denoiser's objective.

    Attributes:
      weighting: λ of an item: "edm", "1" or "sigma^2".
    """

    weighting: Weighting = "edm"

    def __post_init__(self) -> None:
        check_fields(self, "denoiser.")


def score_loss(
    params: Params,
    batch: Batch,
    draws: ScoreDraws,
    *,
    model: ScoreModel,
    config: DenoiserConfig = DenoiserConfig(),
) -> tuple[Scalar, Terms]:
    """Compute ½ Σ_{f,t} λ(σ_t) |D(x_t, y, t) − μ_t|², mean over the batch (arXiv 2409.10753, eq. 8).

    The target is μ_t, not x0. Each item has its own weight; the authors' code broadcasts λ over the wrong
    axis, which weights every item by the mean of the batch's weights.

    Returns:
      The loss, and {"loss": loss} for the log.
    """
    x_t, mean, sigma = perturb(model, batch, *draws)
    errors = squared(model.denoise(params, x_t, batch.y, draws.t) - mean)
    if config.weighting == "edm":
        errors *= edm_weight(sigma, model.config.preconditioning.sigma_data)
    elif config.weighting == "sigma^2":
        errors *= sigma**2
    loss = 0.5 * jnp.mean(jnp.sum(errors, axis=(-2, -1)))
    return loss, {"loss": loss}


def score_matching_loss(
    params: Params, batch: Batch, draws: ScoreDraws, *, model: ScoreModel
) -> tuple[Scalar, Terms]:
    """Compute ½ Σ_{f,t} |σ_t s + z|², mean over the batch (arXiv 2208.05830, eq. 18; 2409.10753, eq. 7).

    Returns:
      The loss, and {"loss": loss} for the log.
    """
    x_t, _, sigma = perturb(model, batch, *draws)
    error = sigma * model.score(params, x_t, batch.y, draws.t) + draws.z
    loss = 0.5 * jnp.mean(jnp.sum(squared(error), axis=(-2, -1)))
    return loss, {"loss": loss}


@dataclasses.dataclass(frozen=True)
class DataPredictionConfig:
    """Constants of the bridge's objective.

    Attributes:
      l1_weight, pesq_weight: weights of the time-domain terms. A term of weight 0 is not computed.
    """

    l1_weight: float = 1e-3
    pesq_weight: float = 5e-4

    def __post_init__(self) -> None:
        check_fields(self, "data_prediction.", least={"l1_weight": 0, "pesq_weight": 0})


def data_prediction_loss(
    params: Params,
    batch: Batch,
    draws: ScoreDraws,
    *,
    model: ScoreModel,
    config: DataPredictionConfig = DataPredictionConfig(),
) -> tuple[Scalar, Terms]:
    """Compute ½ mean |D − x0|² + w_l1 ½ mean |d − w0| + w_pesq PESQ(w0, d) (arXiv 2409.10753, eq. 14, 15).

    d and w0 are the waves of D(x_t, y, t) and of the clean crop; every mean is over all
    elements of a batch.

    Returns:
      The loss, and its weighted terms for the log.
    """
    x_t, _, _ = perturb(model, batch, *draws)
    denoised = model.denoise(params, x_t, batch.y, draws.t)
    samples = model.front_end.samples(batch.x0.shape[-1])
    estimate, clean = (model.front_end.synthesize(x, samples) for x in (denoised, batch.x0))
    terms = {"spectrum": 0.5 * jnp.mean(squared(denoised - batch.x0))}
    if config.l1_weight:
        terms["l1"] = config.l1_weight * 0.5 * jnp.mean(jnp.abs(estimate - clean))
    if config.pesq_weight:
        terms["pesq"] = config.pesq_weight * jnp.mean(pesq_loss(clean, estimate))
    loss = sum(terms.values(), start=jnp.float32(0))
    return loss, {"loss": loss, **terms}
