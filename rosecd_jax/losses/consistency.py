"""ROSE-CD: distillation along a randomised trajectory (Xu, Yan and Kleijn 2025, arXiv 2507.05688)."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rosecd_jax.diffusion.noise import complex_normal
from rosecd_jax.diffusion.sde import per_item
from rosecd_jax.diffusion.solvers import annealed_langevin, reverse_diffusion
from rosecd_jax.losses.batch import Batch
from rosecd_jax.losses.pesq import pesq_loss
from rosecd_jax.losses.si_sdr import neg_si_sdr
from rosecd_jax.models.score_model import Params, ScoreModel


@dataclasses.dataclass(frozen=True)
class DistillationConfig:
    """Constants of the distillation objective.

    Attributes:
      steps: N of the time grid t_n = linspace(1, t_eps, N).
      snr: of the teacher's corrector.
      consistency_weight, pesq_weight, si_sdr_weight: of the three terms. PESQ 5e-4 is the paper's balanced
        setting, 1e-3 the one with the highest PESQ. A term of weight 0 is not computed.
    """

    steps: int = 30
    snr: float = 0.5
    consistency_weight: float = 1.0
    pesq_weight: float = 5e-4
    si_sdr_weight: float = 5e-5


class DistillationDraws(NamedTuple):
    """Every random number of one step.

    Attributes:
      n: where on the time grid each item is, int32 [B] in 0 … steps − 2.
      z: the noise of x_{t_n}, complex64 [B, F, T].
      corrector, predictor: the noise of the teacher's two half steps, complex64 [B, F, T].
    """

    n: jax.Array
    z: jax.Array
    corrector: jax.Array
    predictor: jax.Array


def draw(key: jax.Array, shape: tuple[int, ...], config: DistillationConfig) -> DistillationDraws:
    """The random numbers of one step for a batch of `shape` [B, F, T]."""
    key_n, *keys = jax.random.split(key, 4)
    n = jax.random.randint(key_n, shape[:1], 0, config.steps - 1)
    return DistillationDraws(n, *(complex_normal(k, shape) for k in keys))


def distillation_loss(
    params: Params,
    batch: Batch,
    draws: DistillationDraws,
    *,
    model: ScoreModel,
    target_params: Params,
    teacher: ScoreModel,
    teacher_params: Params,
    config: DistillationConfig = DistillationConfig(),
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """mean |D_θ(x_{t_n}, y, t_n) − D_{θ⁻}(x̂_{t_{n+1}}, y, t_{n+1})|² + w_pesq PESQ − w_si_sdr SI-SDR.

    The frozen teacher takes one predictor-corrector step t_n → t_{n+1} from x_{t_n} = μ + σ z and keeps the
    noise that it injects: the randomised trajectory.

    Args:
      params: θ.
      batch: complex64 [B, F, T].
      draws: see `draw`.
      model: the student; also of the target.
      target_params: θ⁻, the moving average of θ; no gradient flows into it.
      teacher, teacher_params: no gradient flows into them either.

    Returns:
      The loss, float32 scalar, and its weighted terms for the log, each float32 scalar.
    """
    sde = model.sde
    times = sde.timesteps(config.steps)
    t, t_next = times[draws.n], times[draws.n + 1]
    mean = sde.mean(batch.x0, batch.y, t)
    x_t = mean + per_item(sde.std(t), mean) * draws.z

    def score(x, y, t):
        return teacher.score(teacher_params, x, y, t)

    x_corrected, _ = annealed_langevin(score, sde, x_t, batch.y, t, config.snr, draws.corrector)
    x_next, _ = reverse_diffusion(score, sde, x_corrected, batch.y, t, t_next - t, draws.predictor)
    target = jax.lax.stop_gradient(model.denoise(target_params, x_next, batch.y, t_next))

    denoised = model.denoise(params, x_t, batch.y, t)
    error = denoised - target
    terms = {
        "consistency": config.consistency_weight * jnp.mean(jnp.square(error.real) + jnp.square(error.imag))
    }
    terms |= time_domain_terms(denoised, batch.x0, model, config)
    loss = sum(terms.values(), start=jnp.float32(0))
    return loss, {"loss": loss, **terms}


def time_domain_terms(
    denoised: jax.Array, x0: jax.Array, model: ScoreModel, config: DistillationConfig
) -> dict[str, jax.Array]:
    """The weighted PESQ and −SI-SDR terms between the waves of two spectrograms, complex64 [B, F, T]."""
    samples = model.front_end.samples(x0.shape[-1])
    estimate, clean = (model.front_end.synthesise(x, samples) for x in (denoised, x0))
    terms = {}
    if config.pesq_weight:
        terms["pesq"] = config.pesq_weight * jnp.mean(pesq_loss(clean, estimate))
    if config.si_sdr_weight:
        terms["si_sdr"] = config.si_sdr_weight * jnp.mean(neg_si_sdr(estimate, clean))
    return terms
