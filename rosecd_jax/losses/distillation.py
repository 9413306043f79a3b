"""ROSE-CD: distillation along a randomized trajectory (Xu, Yan and Kleijn 2025, arXiv 2507.05688)."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.flatten_util
import jax.numpy as jnp
from jaxtyping import Float32, Int32, Key

from rosecd_jax.arrays import Array, Spectrogram
from rosecd_jax.config import check_fields
from rosecd_jax.diffusion import solvers
from rosecd_jax.diffusion.noise import complex_normal
from rosecd_jax.diffusion.sde import SBVE
from rosecd_jax.losses.batch import Batch
from rosecd_jax.losses.pesq import pesq_loss
from rosecd_jax.losses.si_sdr import NO_LIMIT, neg_si_sdr
from rosecd_jax.losses.teacher import Scalar, Terms, perturb, squared
from rosecd_jax.models.score_model import Params, ScoreModel

Solver = Literal["pc", "euler", "heun", "mix", "bridge-ode", "bridge-sde"]
Weighting = Literal["uniform", "snr", "snr+1", "karras", "truncated-snr"]
OfItems = Float32[Array, " B"]
TERM_WEIGHTS = ("consistency_weight", "pesq_weight", "si_sdr_weight")
ODE_SOLVERS = {"euler": solvers.euler, "heun": solvers.heun, "mix": solvers.mix}
BRIDGE_SOLVERS = {"bridge-ode": solvers.bridge_ode, "bridge-sde": solvers.bridge_sde}


@dataclasses.dataclass(frozen=True)
class DistillationConfig:
    """Constants of the distillation objective.

    Attributes:
      steps: N of the time grid t_n = linspace(1, t_eps, N), at least 2.
      snr: snr of the teacher's corrector.
      solver: solver of the teacher's step. "pc" (predictor-corrector) is the paper's; "euler", "heun" and
        "mix" are its ablations; "bridge-ode" and "bridge-sde" are for a Schrödinger bridge as a teacher.
      trajectory: "noise" keeps the noise that the step adds last (the randomized trajectory), "mean" does
        not. Both keep the noise of the corrector in a step of "pc".
      weighting: w(t_n) of the consistency term, see `consistency_weight`.
      consistency_weight, pesq_weight, si_sdr_weight: weights of the terms. PESQ 5e-4 is the paper's balanced
        setting, 1e-3 the one with the highest PESQ. A term of weight 0 is not computed.
      si_sdr_limit: dB, upper bound of SI-SDR in its term, see `neg_si_sdr`; the paper has none.
    """

    steps: int = 30
    snr: float = 0.5
    solver: Solver = "pc"
    trajectory: Literal["noise", "mean"] = "noise"
    weighting: Weighting = "uniform"
    consistency_weight: float = 1.0
    pesq_weight: float = 5e-4
    si_sdr_weight: float = 5e-5
    si_sdr_limit: float = NO_LIMIT

    def __post_init__(self) -> None:
        least = {"steps": 2, "snr": 0} | dict.fromkeys(TERM_WEIGHTS, 0)
        check_fields(self, "distillation.", least=least, above={"si_sdr_limit": 0})
        check_weights(self, "distillation.")


def check_weights(config: Any, where: str) -> None:
    """Raise ValueError if the weights of all three terms are 0."""
    if not any(getattr(config, name) for name in TERM_WEIGHTS):
        names = ", ".join(f"{where}{name}" for name in TERM_WEIGHTS)
        raise ValueError(f"{names} are all 0, so that nothing would be trained: set one of them above 0")


class DistillationDraws(NamedTuple):
    """Random numbers of one step.

    Attributes:
      n: index of each item on the time grid, in 0 … steps − 2.
      z: noise of x_{t_n}.
      corrector, predictor: noise of the teacher's two stages; solvers without a corrector use `predictor`.
    """

    n: Int32[Array, " B"]
    z: Spectrogram
    corrector: Spectrogram
    predictor: Spectrogram


def draw_distillation(
    key: Key[Array, ""], shape: tuple[int, ...], config: DistillationConfig
) -> DistillationDraws:
    """Draw the random numbers of one step for a batch of `shape` [B, F, T]."""
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
    make_target: Callable[..., Spectrogram] | None = None,
) -> tuple[Scalar, Terms]:
    """Compute the consistency, PESQ and SI-SDR terms of distillation (arXiv 2507.05688).

    w(t_n) mean |D_θ(x_{t_n}, y, t_n) − D_{θ⁻}(x̂_{t_{n+1}}, y, t_{n+1})|² + w_pesq L_pesq − w_si_sdr SI-SDR

    L_pesq is `pesq_loss`, a distance: lower is better.

    This is consistency distillation (Song et al. 2023, arXiv 2303.01469) with two terms in the time domain.
    The frozen teacher takes one step t_n → t_{n+1} from x_{t_n} = μ + σ z, and keeps its noise if configured:
    the randomized trajectory.

    Args:
      params: θ.
      draws: see `draw_distillation`.
      model: the student, which also makes the target.
      target_params: θ⁻, the moving average of θ; without gradient.
      teacher, teacher_params: the frozen teacher; without gradient.
      make_target: `target_in_sequence` (if None) or `target_in_one_loop`.

    Returns:
      The loss, and its weighted terms for the log.
    """
    times = model.sde.timesteps(config.steps)
    t, t_next = times[draws.n], times[draws.n + 1]
    x_t = perturb(model, batch, t, draws.z).x_t
    with jax.named_scope("student"):
        denoised = model.denoise(params, x_t, batch.y, t)
    terms: Terms = {}
    if config.consistency_weight:
        student, frozen = Network(model, target_params), Network(teacher, teacher_params)
        make_target = make_target or target_in_sequence
        target = make_target(student, frozen, x_t, batch.y, t, t_next, draws, config)
        error = consistency_error(denoised, target, t, model, config.weighting)
        terms["consistency"] = config.consistency_weight * error
    weights = config.pesq_weight, config.si_sdr_weight
    terms |= time_domain_terms(denoised, batch.x0, model, *weights, config.si_sdr_limit)
    loss = sum(terms.values(), start=jnp.float32(0))
    return loss, {"loss": loss, **terms}


def teacher_step(
    teacher: ScoreModel,
    params: Params,
    x: Spectrogram,
    y: Spectrogram,
    t: OfItems,
    t_next: OfItems,
    draws: DistillationDraws,
    config: DistillationConfig,
) -> Spectrogram:
    """Compute x̂_{t_next} by one step of the teacher from x at t.

    By default, it is a corrector and a predictor step of arXiv 2208.05830, with the noise kept as in arXiv
    2507.05688. Euler, Heun and mix step by t_next − t; in the authors' code by −1/N on any grid. The authors'
    step of a bridge goes from the grid's previous time to t; here it goes from t to t_next.
    """

    def score(*state):
        return teacher.score(params, *state)

    def denoise(*state):
        return teacher.denoise(params, *state)

    sde = teacher.sde
    if isinstance(sde, SBVE):
        step = BRIDGE_SOLVERS[config.solver](denoise, sde, x, y, t, t_next, draws.predictor)
    elif config.solver == "pc":
        x, _ = solvers.annealed_langevin(score, sde, x, y, t, config.snr, draws.corrector)
        step = solvers.reverse_diffusion(score, sde, x, y, t, t_next - t, draws.predictor)
    else:
        step = ODE_SOLVERS[config.solver](score, sde, x, y, t, t_next - t, draws.predictor)
    noisy, mean = step
    return noisy if config.trajectory == "noise" else mean


TeacherStep = Callable[
    [
        ScoreModel,
        Params,
        Spectrogram,
        Spectrogram,
        OfItems,
        OfItems,
        DistillationDraws,
        DistillationConfig,
    ],
    Spectrogram,
]
"""Type of functions with the signature of `teacher_step`."""


class Network(NamedTuple):
    """A model and its parameters."""

    model: ScoreModel
    params: Params


def target_in_sequence(
    student: Network,
    teacher: Network,
    x: Spectrogram,
    y: Spectrogram,
    t: OfItems,
    t_next: OfItems,
    draws: DistillationDraws,
    config: DistillationConfig,
    step: TeacherStep = teacher_step,
) -> Spectrogram:
    """Compute D_{θ⁻}(x̂_{t_next}, y, t_next), where `step` makes x̂ from x at t."""
    with jax.named_scope("teacher_step"):
        x_next = step(teacher.model, teacher.params, x, y, t, t_next, draws, config)
    with jax.named_scope("target"):
        return student.model.denoise(student.params, x_next, y, t_next)


def target_in_one_loop(
    student: Network,
    teacher: Network,
    x: Spectrogram,
    y: Spectrogram,
    t: OfItems,
    t_next: OfItems,
    draws: DistillationDraws,
    config: DistillationConfig,
) -> Spectrogram:
    """Compute `target_in_sequence` in a loop, for networks of equal configs and the solver "pc".

    The calls of the teacher's corrector, its predictor and the target are iterations of one loop, so that the
    network is compiled once instead of three times. On a CPU, convolutions are slower in a loop.
    """
    sde = teacher.model.sde
    to_tree: Callable[[Array], Params]
    teacher_vector, to_tree = jax.flatten_util.ravel_pytree(teacher.params)
    target_vector, _ = jax.flatten_util.ravel_pytree(student.params)

    @jax.named_scope("teacher_step")
    def corrector(x: Spectrogram, raw: Spectrogram) -> Spectrogram:
        score = teacher.model.score_of(raw, x, t)
        return solvers.annealed_langevin(lambda *_: score, sde, x, y, t, config.snr, draws.corrector)[0]

    @jax.named_scope("teacher_step")
    def predictor(x: Spectrogram, raw: Spectrogram) -> Spectrogram:
        score = teacher.model.score_of(raw, x, t)
        step = solvers.reverse_diffusion(lambda *_: score, sde, x, y, t, t_next - t, draws.predictor)
        return step[0] if config.trajectory == "noise" else step[1]

    @jax.named_scope("target")
    def target(x: Spectrogram, raw: Spectrogram) -> Spectrogram:
        return student.model.denoised_of(raw, x, t_next)

    def call(x: Spectrogram, number: Int32[Array, ""]) -> tuple[Spectrogram, None]:
        of_teacher = number < 2
        time = jnp.where(of_teacher, t, t_next)
        scale = teacher.model.scaled, student.model.scaled
        x_in, y_in = jax.lax.cond(of_teacher, *scale, x, y, time)
        params = to_tree(jnp.where(of_teacher, teacher_vector, target_vector))
        with jax.named_scope("teacher_step_and_target"):
            raw = student.model.raw(params, x_in, y_in, time)
        return jax.lax.switch(number, (corrector, predictor, target), x, raw), None

    return jax.lax.scan(call, x, jnp.arange(3))[0]


@jax.named_scope("consistency")
def consistency_error(
    denoised: Spectrogram, target: Spectrogram, t: OfItems, model: ScoreModel, weighting: Weighting
) -> Scalar:
    """Compute the mean over the batch of w(t) mean |denoised − target|²; without gradient to the target.

    The consistency term of arXiv 2507.05688, with the squared L2 distance.
    """
    errors = jnp.mean(squared(denoised - jax.lax.stop_gradient(target)), axis=(-2, -1))
    return jnp.mean(consistency_weight(weighting, t, model.config.preconditioning.sigma_data) * errors)


def consistency_weight(weighting: Weighting, t: OfItems, sigma_data: float) -> OfItems:
    """Compute w(t): 1, snr, snr + 1, snr + 1/σ_d² ("karras") or max(snr, 1), with snr = t⁻².

    The schedules of the code of consistency models (Song et al. 2023, arXiv 2303.01469), at σ = t.
    """
    snr = t**-2.0
    weights = {
        "uniform": jnp.ones_like(snr),
        "snr": snr,
        "snr+1": snr + 1,
        "karras": snr + sigma_data**-2,
        "truncated-snr": jnp.maximum(snr, 1),
    }
    return weights[weighting]


def time_domain_terms(
    denoised: Spectrogram,
    x0: Spectrogram,
    model: ScoreModel,
    pesq_weight: float,
    si_sdr_weight: float,
    si_sdr_limit: float,
) -> Terms:
    """Compute the weighted PESQ and −SI-SDR terms from the waves of two spectrograms (arXiv 2507.05688).

    Args:
      pesq_weight, si_sdr_weight, si_sdr_limit: as in `DistillationConfig`.
    """
    samples = model.front_end.samples(x0.shape[-1])
    estimate, clean = (model.front_end.synthesize(x, samples) for x in (denoised, x0))
    terms = {}
    if pesq_weight:
        terms["pesq"] = pesq_weight * jnp.mean(pesq_loss(clean, estimate))
    if si_sdr_weight:
        terms["si_sdr"] = si_sdr_weight * jnp.mean(neg_si_sdr(estimate, clean, si_sdr_limit))
    return terms
