"""The teacher's objective: a denoiser trained towards the mean of the forward process."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from rosecd_jax.diffusion.noise import complex_normal
from rosecd_jax.diffusion.sde import per_item
from rosecd_jax.losses.batch import Batch
from rosecd_jax.models.score_model import Params, ScoreModel


class ScoreDraws(NamedTuple):
    """Every random number of one step: t float32 [B] in [t_eps, 1], z complex64 [B, F, T]."""

    t: jax.Array
    z: jax.Array


def draw(key: jax.Array, shape: tuple[int, ...], model: ScoreModel) -> ScoreDraws:
    """Times uniform in [t_eps, 1] and circular noise for a batch of `shape` [B, F, T]."""
    key_t, key_z = jax.random.split(key)
    t = jax.random.uniform(key_t, shape[:1], minval=model.sde.t_eps, maxval=model.sde.end_time)
    return ScoreDraws(t, complex_normal(key_z, shape))


def edm_weight(sigma: jax.Array, sigma_data: float) -> jax.Array:
    """λ(σ) = (σ² + σ_d²) / (σ σ_d)² (Karras et al. 2022, table 1)."""
    return (sigma**2 + sigma_data**2) / (sigma * sigma_data) ** 2


def score_loss(
    params: Params, batch: Batch, draws: ScoreDraws, *, model: ScoreModel
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """½ Σ_{f,t} λ(σ_t) |D(x_t, y, t) − μ_t|², mean over the batch (arXiv 2409.10753, eq. 8).

    The target is μ_t, not x0. Each item has its own weight; the authors' code broadcasts λ over a wrong axis,
    so that there every item is weighted by the sum of the batch's weights divided by the batch size.

    Returns:
      The loss, float32 scalar, and {"loss": the same} for the log.
    """
    t, z = draws
    mean = model.sde.mean(batch.x0, batch.y, t)
    sigma = model.sde.std(t)
    x_t = mean + per_item(sigma, mean) * z
    denoised = model.denoise(params, x_t, batch.y, t)
    error = denoised - mean
    per_example = 0.5 * jnp.sum(jnp.square(error.real) + jnp.square(error.imag), axis=(-2, -1))
    loss = jnp.mean(edm_weight(sigma, model.config.preconditioning.sigma_data) * per_example)
    return loss, {"loss": loss}
