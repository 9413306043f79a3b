"""Consistency training: ROSE-CD without a teacher, the authors' later recipe.

Instead of the teacher's step x_{t_n} → x̂_{t_{n+1}}, the forward process is sampled at t_{n+1} with
independent noise. On a grid of one point, this is a regression of the clean speech on x_T and y, a one-step
student's inputs.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Int32, Key

from rosecd_jax.arrays import Array, Spectrogram
from rosecd_jax.config import check_fields
from rosecd_jax.diffusion.noise import complex_normal
from rosecd_jax.losses.batch import Batch
from rosecd_jax.losses.distillation import (
    TERM_WEIGHTS,
    Weighting,
    check_weights,
    consistency_error,
    time_domain_terms,
)
from rosecd_jax.losses.si_sdr import NO_LIMIT
from rosecd_jax.losses.teacher import Scalar, Terms, perturb
from rosecd_jax.models.score_model import Params, ScoreModel


@dataclasses.dataclass(frozen=True)
class ConsistencyTrainingConfig:
    """Constants of the teacher-free objective.

    Attributes:
      steps: N of the time grid t_n = linspace(1, t_eps, N). With 1 there is no t_{n+1}, and the target is the
        clean speech itself. With few steps but more than 1, the target is evaluated at times at
        which it is rarely or never trained: estimates may drift in level, which the two time-domain terms
        don't penalize.
      weighting: w(t_n) of the consistency term, see `consistency_weight`.
      consistency_weight, pesq_weight, si_sdr_weight: weights of the terms; a term of weight 0 isn't computed.
      si_sdr_limit: dB, upper bound of SI-SDR in its term, see `neg_si_sdr`.
    """

    steps: int = 30
    weighting: Weighting = "uniform"
    consistency_weight: float = 1.0
    pesq_weight: float = 5e-4
    si_sdr_weight: float = 5e-5
    si_sdr_limit: float = NO_LIMIT

    def __post_init__(self) -> None:
        least = {"steps": 1} | dict.fromkeys(TERM_WEIGHTS, 0)
        check_fields(self, "consistency_training.", least=least, above={"si_sdr_limit": 0})
        check_weights(self, "consistency_training.")


class ConsistencyTrainingDraws(NamedTuple):
    """Random numbers of one step.

    Attributes:
      n: index of each item on the time grid, in 0 … max(steps − 2, 0).
      z, z_next: noise of x_{t_n} (or of x_T) and of x_{t_{n+1}}.
    """

    n: Int32[Array, " B"]
    z: Spectrogram
    z_next: Spectrogram


def draw_consistency_training(
    key: Key[Array, ""], shape: tuple[int, ...], config: ConsistencyTrainingConfig
) -> ConsistencyTrainingDraws:
    """Draw the random numbers of one step for a batch of `shape` [B, F, T]."""
    key_n, *keys = jax.random.split(key, 3)
    n = jax.random.randint(key_n, shape[:1], 0, max(config.steps - 1, 1))
    return ConsistencyTrainingDraws(n, *(complex_normal(k, shape) for k in keys))


def consistency_training_loss(
    params: Params,
    batch: Batch,
    draws: ConsistencyTrainingDraws,
    *,
    model: ScoreModel,
    target_params: Params,
    config: ConsistencyTrainingConfig = ConsistencyTrainingConfig(),
) -> tuple[Scalar, Terms]:
    """Compute the consistency, PESQ and SI-SDR terms of training without a teacher.

    w(t_n) mean |D_θ(x_{t_n}, y, t_n) − D_{θ⁻}(x_{t_{n+1}}, y, t_{n+1})|² + w_pesq L_pesq − w_si_sdr SI-SDR

    L_pesq is `pesq_loss`, a distance: lower is better.

    This is the consistency training of Song et al. 2023 (arXiv 2303.01469), but with independent noise of
    x_{t_{n+1}} instead of a shared z, and with the time-domain terms of arXiv 2507.05688.

    With `config.steps` of 1, t_n is 1, the target is x_0 and the input x_T = y + σ_1 z, as in the sampler.
    The forward process's x_1 = μ_1 + σ_1 z doesn't work: μ_1 contains e^{−γ} x_0 (22 %), and a network learns
    to read y − x_0 from x_1 − y, which contains none of it in inference.

    Args:
      params: θ.
      draws: see `draw_consistency_training`.
      target_params: θ⁻, the moving average of θ; without gradient.

    Returns:
      The loss, and its weighted terms for the log.
    """
    times = model.sde.timesteps(config.steps)
    t = times[draws.n]
    one_point = config.steps == 1
    x_t = model.sde.prior(batch.y, draws.z) if one_point else perturb(model, batch, t, draws.z).x_t
    with jax.named_scope("student"):
        denoised = model.denoise(params, x_t, batch.y, t)
    terms: Terms = {}
    if config.consistency_weight:
        target = batch.x0
        if not one_point:
            t_next = times[draws.n + 1]
            x_next = perturb(model, batch, t_next, draws.z_next).x_t
            with jax.named_scope("target"):
                target = model.denoise(target_params, x_next, batch.y, t_next)
        error = consistency_error(denoised, target, t, model, config.weighting)
        terms["consistency"] = config.consistency_weight * error
    weights = config.pesq_weight, config.si_sdr_weight
    terms |= time_domain_terms(denoised, batch.x0, model, *weights, config.si_sdr_limit)
    loss = sum(terms.values(), start=jnp.float32(0))
    return loss, {"loss": loss, **terms}
