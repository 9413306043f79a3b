"""The part of `rosecd verify` that is about training: losses, their gradients, the optimiser."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rosecd_jax.diffusion import Preconditioning, solvers
from rosecd_jax.evaluation.comparison import (
    BRIDGE,
    GRADIENT,
    NETWORK,
    SMALL,
    STUDENT,
    TEACHER,
    Arrays,
    Comparison,
    Program,
    compare,
    compare_gradients,
    jit,
    their_params,
)
from rosecd_jax.losses import Batch, neg_si_sdr, pesq_loss, score
from rosecd_jax.losses.consistency import DistillationDraws, distillation_loss
from rosecd_jax.losses.consistency_training import ConsistencyTrainingDraws, consistency_training_loss
from rosecd_jax.models.score_model import ModelConfig, Params, ScoreModel
from rosecd_jax.training.config import OptimiserConfig
from rosecd_jax.training.state import init_state, make_optimiser, update

TERMS = ("consistency", "pesq", "si_sdr", "loss")


def optimiser(golden: Arrays) -> Iterator[Comparison]:
    """Five steps of Adam and of the moving average."""
    config = OptimiserConfig(learning_rate=1e-4, ema_decay=0.999)
    adam = make_optimiser(config)
    state = init_state(golden["params"][0], adam, jax.random.key(0))
    params, averages = [], []
    for gradient in golden["grads"]:
        state = update(state, gradient, adam, config.ema_decay)
        params.append(state.params)
        averages.append(state.ema)
    yield compare("optimiser: weights", np.stack(params), golden["params"][1:], NETWORK)
    yield compare("optimiser: moving average", np.stack(averages), golden["ema"], NETWORK)


def time_domain(golden: Arrays) -> Iterator[Comparison]:
    """The PESQ and SI-SDR losses and their gradients with respect to the estimate."""
    clean, estimate = (golden[name] for name in ("clean", "estimate"))
    losses: dict[str, Callable[[jax.Array], jax.Array]] = {
        "pesq": lambda wave: pesq_loss(clean, wave),
        "neg_si_sdr": lambda wave: neg_si_sdr(wave, clean),
    }
    for name, loss in losses.items():
        gradient, values = jax.jit(jax.grad(lambda w, f=loss: (f(w).sum(), f(w)), has_aux=True))(estimate)
        value = "pesq_loss" if name == "pesq" else name
        yield compare(f"loss: {name}", values, golden[value], NETWORK)
        yield compare(f"loss: {name}, gradient", gradient, golden[f"{name}_grad"], GRADIENT)


def distillation(
    golden: Arrays, params: Mapping[str, Params], teacher: Program, student: Program
) -> Iterator[Comparison]:
    """The teacher's step of each variant, and the consistency term that follows from it."""
    x0, y, n, sde = golden["x"][:, 0], golden["y"][:, 0], golden["index"], TEACHER.sde
    t, t_next = (sde.timesteps()[i] for i in (n, n + 1))
    x_t, _, _ = score.perturb(TEACHER, Batch(x0, y), t, golden["z"][:, 0])
    noise = golden["solver_noise"][:, 0, 0]

    def score_fn(*state: Any) -> jax.Array:
        return teacher(params["teacher"], *state)["score"]

    corrected, _ = solvers.annealed_langevin(score_fn, sde, x_t, y, t, 0.5, noise[0::2])
    steps = {"pc2": solvers.reverse_diffusion(score_fn, sde, corrected, y, t, t_next - t, noise[1::2])}
    dt = jnp.float32(-1 / 30)  # theirs, whatever the grid
    for name in ("euler", "heun", "mix"):
        steps[name] = getattr(solvers, name)(score_fn, sde, x_t, y, t, dt, noise[:2])
    denoised = student(params["student"], x_t, y, t)["denoise"]
    for name, step in steps.items():
        for kind, x_next in zip(("noise", "mean"), step, strict=True):
            if f"{name}_{kind}/x_t2" not in golden:
                continue
            expected = golden[f"{name}_{kind}/x_t2"][:, 0]
            yield compare(f"distillation: {name}_{kind}, step", x_next, expected, NETWORK)
            target = student(params["target"], x_next, y, t_next)["denoise"]
            term = np.mean(np.abs(denoised - target) ** 2)
            expected = golden[f"{name}_{kind}/consistency"]
            yield compare(f"distillation: {name}_{kind}, term", term, expected, NETWORK)


def gradients(load: Callable[[str], Arrays], params: Mapping[str, Params]) -> Iterator[Comparison]:
    """Each objective, and the gradient of those that have one."""
    yield from _of_a_teacher(load("teacher_objectives"), params["teacher"])

    golden = load("distillation")
    noise = golden["solver_noise"][:, 0, 0]
    draws = DistillationDraws(golden["index"], golden["z"][:, 0], noise[0::2], noise[1::2])

    def distil(weights: Params, frozen: Mapping[str, Params], batch: Batch, draws: DistillationDraws) -> Any:
        return distillation_loss(
            weights,
            batch,
            draws,
            model=STUDENT,
            target_params=frozen["target"],
            teacher=TEACHER,
            teacher_params=frozen["teacher"],
        )

    theirs = {name: golden[f"pc2_noise/{name}"] for name in TERMS}
    gradient = their_params(golden, "pc2_noise/grad/")
    yield from _objective("distillation", distil, params, _batch(golden), draws, theirs, gradient)

    golden = load("consistency_training")
    fresh = ConsistencyTrainingDraws(golden["index"], golden["z"][:, 0], golden["z2"][:, 0])

    def train(
        weights: Params, frozen: Mapping[str, Params], batch: Batch, draws: ConsistencyTrainingDraws
    ) -> Any:
        return consistency_training_loss(weights, batch, draws, model=STUDENT, target_params=frozen["target"])

    theirs = {name: golden[name] for name in TERMS}
    gradient = their_params(golden, "grad/")
    yield from _objective("consistency training", train, params, _batch(golden), fresh, theirs, gradient)


def _batch(golden: Arrays) -> Batch:
    return Batch(golden["x"][:, 0], golden["y"][:, 0])


def _objective(
    name: str,
    loss: Callable[..., Any],
    params: Mapping[str, Params],
    batch: Batch,
    draws: Any,
    theirs: Arrays,
    gradient: Params,
) -> Iterator[Comparison]:
    found, terms = jit(jax.grad(loss, has_aux=True))(params["student"], params, batch, draws)
    for term in TERMS:
        yield compare(f"{name}: {term}", terms[term], theirs[term], NETWORK)
    yield compare_gradients(f"{name}: gradient", found, gradient)


def _of_a_teacher(golden: Arrays, params: Params) -> Iterator[Comparison]:
    """The teacher's objectives; theirs of the EDM weight has the broadcast that ours has not."""

    def draws(name: str) -> score.ScoreDraws:
        t = golden[f"{name}/u"] * np.float32(1 - 0.03) + np.float32(0.03)
        return score.ScoreDraws(t, golden[f"{name}/z"][:, 0])

    def unscaled(**scalings: Any) -> ScoreModel:
        scaling = Preconditioning(c_out="1", c_skip="0", **scalings)
        return ScoreModel(ModelConfig(network=SMALL, preconditioning=scaling))

    def broadcast(params: Params, batch: Batch, draws: score.ScoreDraws) -> jax.Array:
        """Their value by its formula: ½ mean_i(λ_i) Σ_j Σ |D_j − μ_j|²."""
        unweighted = score.DenoiserConfig(weighting="1")
        errors, _ = score.score_loss(params, batch, draws, model=TEACHER, config=unweighted)
        weights = score.edm_weight(TEACHER.sde.std(draws.t), TEACHER.config.preconditioning.sigma_data)
        return jnp.mean(weights) * len(draws.t) * errors

    def predict(params: Params, batch: Batch, draws: score.ScoreDraws) -> jax.Array:
        return score.data_prediction_loss(params, batch, draws, model=BRIDGE)[0]

    def match(params: Params, batch: Batch, draws: score.ScoreDraws) -> jax.Array:
        model = unscaled(c_in="1", network_scaling="1/sigma", output="score")
        return score.score_matching_loss(params, batch, draws, model=model)[0]

    def denoise(params: Params, batch: Batch, draws: score.ScoreDraws) -> jax.Array:
        plain = score.DenoiserConfig(weighting="1")
        return score.score_loss(params, batch, draws, model=unscaled(), config=plain)[0]

    for name, loss in (("score_matching", match), ("denoiser_unit", denoise)):
        value = jit(loss)(params, _batch(golden), draws(name))
        yield compare(f"teacher: {name}", value, golden[f"{name}/loss"], NETWORK)
    for name, loss in (("precond_edm", broadcast), ("data_prediction", predict)):
        value, gradient = jit(jax.value_and_grad(loss))(params, _batch(golden), draws(name))
        yield compare(f"teacher: {name}", value, golden[f"{name}/loss"], NETWORK)
        theirs = their_params(golden, f"{name}/grad/")
        yield compare_gradients(f"teacher: {name}, gradient", gradient, theirs)
