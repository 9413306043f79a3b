"""rosecd_jax.losses.distillation: one step of the authors' distillation, and what holds for any."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rosecd_jax.diffusion import SBVE, Preconditioning, solvers
from rosecd_jax.losses import (
    Batch,
    DistillationConfig,
    DistillationDraws,
    distillation_loss,
    draw_distillation,
    neg_si_sdr,
    pesq_loss,
)
from rosecd_jax.losses.distillation import (
    Network,
    consistency_weight,
    target_in_one_loop,
    target_in_sequence,
    teacher_step,
)
from rosecd_jax.models import ModelConfig, ScoreModel
from tests.fidelity import NETWORK
from tests.goldens.packing import golden
from tests.helpers import (
    STUDENT,
    TEACHER,
    TINY,
    quick_jit,
    random_params,
    random_spectrogram,
    relative_error,
)


@pytest.fixture(scope="module")
def draws():
    """Of the authors' step, which solves items one by one: corrector and predictor of item 0, then of 1."""
    arrays = golden("distillation")
    noise = arrays["solver_noise"]
    return DistillationDraws(arrays["index"], arrays["z"], noise[0::2], noise[1::2])


@pytest.mark.fidelity
def test_terms_and_gradients_agree_with_the_authors(agree, networks, speech, draws):
    # Everything is an argument: constants would be folded while compiling, a network of them for minutes.
    @quick_jit
    def run(networks, batch, draws):
        def loss(params):
            return distillation_loss(
                params,
                batch,
                draws,
                model=STUDENT,
                target_params=networks["target"],
                teacher=TEACHER,
                teacher_params=networks["teacher"],
            )

        return jax.grad(loss, has_aux=True)(networks["student"])

    gradients, terms = run(networks, speech, draws)
    for term in ("consistency", "pesq", "si_sdr", "loss"):
        expected = golden("distillation")[f"pc2_noise/{term}"]
        agree(f"distillation: {term}", terms[term], expected, NETWORK)
    agree.gradients("distillation: gradient", gradients, "distillation", "pc2_noise/")


class Compiled(ScoreModel):
    """The authors' teacher, its network compiled once for all tests; params is (program, parameters)."""

    def score(self, params, x_t, y, t):
        program, weights = params
        return program(weights, x_t, y, t)["score"]


@pytest.fixture(scope="module")
def states(speech, draws):
    """x_{t_n}, t_n, t_{n+1} of both items."""
    sde, n = TEACHER.sde, draws.n
    t, t_next = sde.timesteps()[n], sde.timesteps()[n + 1]
    return sde.mean(*speech, t) + sde.std(t)[:, None, None] * draws.z, t, t_next


@pytest.fixture(scope="module")
def term(networks, student_program, speech, states):
    """x̂_{t_{n+1}} -> the consistency term and the target; in the time domain the variants do not differ."""
    x_t, t, t_next = states
    denoised = student_program(networks["student"], x_t, speech.y, t)["denoise"]

    def term(x_next):
        target = student_program(networks["target"], x_next, speech.y, t_next)["denoise"]
        return np.mean(np.abs(denoised - target) ** 2), target

    return term


@pytest.mark.fidelity
@pytest.mark.parametrize("trajectory", ["noise", "mean"])
def test_the_teachers_step_agrees_with_the_authors(
    agree, networks, teacher_program, speech, draws, states, term, trajectory
):
    """x_{t_n} → x̂_{t_{n+1}} as the loss makes it, and the term that follows from it."""
    arrays, (x_t, t, t_next), name = golden("distillation"), states, f"pc2_{trajectory}"
    params = (teacher_program, networks["teacher"])
    config = DistillationConfig(trajectory=trajectory)
    x = teacher_step(Compiled(TEACHER.config), params, x_t, speech.y, t, t_next, draws, config)
    assert relative_error(t_next, arrays["t2"]) < 1e-5
    agree(f"distillation: {name}, step", x[:1], arrays[f"{name}/x_t2"], NETWORK)
    value, target = term(x)
    agree(f"distillation: {name}, term", value, arrays[f"{name}/consistency"], NETWORK)
    if trajectory == "noise":
        assert relative_error(target[:1], arrays["target"]) < 1e-4


@pytest.mark.fidelity
@pytest.mark.parametrize("solver", ["euler", "heun", "mix"])
def test_the_ablations_steps_agree_with_the_authors(
    agree, networks, teacher_program, speech, states, term, solver
):
    """Theirs step by −1/30 instead of t_{n+1} − t_n, and use the first two noises."""
    arrays, (x_t, t, _), dt = golden("distillation"), states, jnp.float32(-1 / 30)
    score = lambda x, y, t: teacher_program(networks["teacher"], x, y, t)["score"]  # noqa: E731
    z = arrays["solver_noise"][:2]
    steps = getattr(solvers, solver)(score, TEACHER.sde, x_t, speech.y, t, dt, z)
    for kind, x in zip(("noise", "mean"), steps, strict=True):
        name = f"{solver}_{kind}"
        if name == "mix_mean":  # the authors have none
            continue
        agree(f"distillation: {name}, step", x[:1], arrays[f"{name}/x_t2"], NETWORK)
        agree(f"distillation: {name}, term", term(x)[0], arrays[f"{name}/consistency"], NETWORK)


# What holds for any step, on a tiny network.

FRAMES = 44  # the shortest multiple of its stride that the PESQ loss takes
BATCH = Batch(random_spectrogram(2, 256, FRAMES), random_spectrogram(2, 256, FRAMES, seed=1))
NOISE = random_spectrogram(3, 2, 256, FRAMES, seed=2, scale=np.sqrt(0.5))
DRAWS = DistillationDraws(np.array([3, 20]), *NOISE)
PARAMS = {name: random_params(TINY, seed) for seed, name in enumerate(("student", "target", "teacher"))}


def tiny_loss(params, batch, draws, **options):
    return distillation_loss(
        params["student"],
        batch,
        draws,
        model=TINY,
        target_params=params["target"],
        teacher=TINY,
        teacher_params=params["teacher"],
        **options,
    )


@pytest.fixture(scope="module")
def tiny():
    """One compilation for the tests below: terms, gradients of all three networks, and more."""
    only_consistency = DistillationConfig(consistency_weight=2.0, pesq_weight=0.0, si_sdr_weight=0.0)

    @quick_jit
    def run(params, batch, draws):
        gradients, terms = jax.grad(tiny_loss, has_aux=True)(params, batch, draws)
        _, without_waves = tiny_loss(params, batch, draws, config=only_consistency)
        t = TINY.sde.timesteps()[draws.n]
        x_t = TINY.sde.mean(*batch, t) + TINY.sde.std(t)[:, None, None] * draws.z
        denoised = TINY.denoise(params["student"], x_t, batch.y, t)
        return {"terms": terms, "gradients": gradients, "without waves": without_waves, "denoised": denoised}

    return run(PARAMS, BATCH, DRAWS)


def test_no_gradient_flows_through_target_and_teacher(tiny):
    for name in ("target", "teacher"):
        assert not any(np.any(leaf) for leaf in jax.tree.leaves(tiny["gradients"][name]))
    assert np.any(tiny["gradients"]["student"]["input"]["kernel"])


@pytest.mark.parametrize("trajectory", ["noise", "mean"])
def test_one_loop_over_the_frozen_networks_gives_what_their_calls_in_sequence_give(trajectory):
    scaled_otherwise = ModelConfig(network=TINY.config.network, preconditioning=Preconditioning(c_in="1"))
    student = Network(ScoreModel(scaled_otherwise), PARAMS["target"])
    teacher, times = Network(TINY, PARAMS["teacher"]), TINY.sde.timesteps()[np.array([0, 1])]
    state = BATCH.x0, BATCH.y, times, TINY.sde.timesteps()[DRAWS.n + 1], DRAWS
    config = DistillationConfig(trajectory=trajectory)
    one, other = (
        quick_jit(lambda *state, make=make: make(student, teacher, *state, config))(*state)
        for make in (target_in_one_loop, target_in_sequence)
    )
    assert relative_error(one, other) < 1e-5


def test_the_loss_is_the_sum_of_its_terms(tiny):
    terms = tiny["terms"]
    assert set(terms) == {"loss", "consistency", "pesq", "si_sdr"}
    assert relative_error(terms["loss"], terms["consistency"] + terms["pesq"] + terms["si_sdr"]) < 1e-6


def test_a_batch_is_the_mean_of_its_items_and_may_hold_one(tiny):
    run = quick_jit(lambda *arguments: tiny_loss(*arguments)[1])
    one, two = (
        run(PARAMS, Batch(*(a[i : i + 1] for a in BATCH)), DistillationDraws(*(a[i : i + 1] for a in DRAWS)))
        for i in range(2)
    )
    for name, value in tiny["terms"].items():
        assert relative_error(value, (one[name] + two[name]) / 2) < 1e-4


def test_terms_of_weight_zero_are_dropped_and_the_others_scale(tiny):
    terms = tiny["without waves"]
    assert set(terms) == {"loss", "consistency"}
    assert terms["loss"] == terms["consistency"]
    assert relative_error(terms["loss"], 2 * tiny["terms"]["consistency"]) < 1e-5


def test_the_time_domain_terms_compare_waves_with_the_clean_crop(tiny):
    samples = TINY.front_end.samples(FRAMES)
    synthesize = jax.jit(lambda x: TINY.front_end.synthesize(x, samples))
    estimate, clean = synthesize(tiny["denoised"]), synthesize(BATCH.x0)
    pesq = jax.jit(pesq_loss)(clean, estimate)
    assert relative_error(tiny["terms"]["pesq"], 5e-4 * jnp.mean(pesq)) < 1e-4
    assert relative_error(tiny["terms"]["si_sdr"], 5e-5 * jnp.mean(neg_si_sdr(estimate, clean))) < 1e-4


class Linear(ScoreModel):
    """A teacher that needs no network."""

    def denoise(self, params, x_t, y, t):
        return params * x_t + 0.25j * y

    def score(self, params, x_t, y, t):
        return -params * x_t + 0.25j * y


SMALL = random_spectrogram(4, 2, 8, 5, seed=3)
OUVE_SOLVERS = {"euler": solvers.euler, "heun": solvers.heun, "mix": solvers.mix}
BRIDGE_SOLVERS = {"bridge-ode": solvers.bridge_ode, "bridge-sde": solvers.bridge_sde}


@pytest.mark.parametrize("name", OUVE_SOLVERS | BRIDGE_SOLVERS)
@pytest.mark.parametrize("trajectory", ["noise", "mean"])
def test_the_teacher_steps_from_each_items_time_to_the_next(name, trajectory):
    x, y, corrector, predictor = SMALL
    t, t_next = jnp.array([0.9, 0.3]), jnp.array([0.7, 0.25])
    bridge = name in BRIDGE_SOLVERS
    teacher = Linear(ModelConfig(sde=SBVE())) if bridge else Linear()
    draws = DistillationDraws(jnp.arange(2), x, corrector, predictor)
    config = DistillationConfig(solver=name, trajectory=trajectory)
    function = teacher.denoise if bridge else teacher.score
    step = (OUVE_SOLVERS | BRIDGE_SOLVERS)[name](
        lambda *state: function(0.5, *state),
        teacher.sde,
        x,
        y,
        t,
        t_next if bridge else t_next - t,
        predictor,
    )
    result = teacher_step(teacher, 0.5, x, y, t, t_next, draws, config)
    np.testing.assert_array_equal(result, step[0 if trajectory == "noise" else 1])


@pytest.mark.parametrize(
    ("weighting", "expected"),
    [
        ("uniform", [1, 1]),
        ("snr", [4, 100]),
        ("snr+1", [5, 101]),
        ("karras", [104, 200]),
        ("truncated-snr", [4, 100]),
    ],
)
def test_weights_of_the_consistency_term(weighting, expected):
    np.testing.assert_allclose(consistency_weight(weighting, jnp.array([0.5, 0.1]), 0.1), expected, rtol=1e-5)


def test_the_truncated_weight_is_one_at_least():
    np.testing.assert_array_equal(consistency_weight("truncated-snr", jnp.array([1.0, 2.0]), 0.1), 1)


def test_items_are_weighted_by_their_own_time(tiny):
    """The term under "snr", from the two items' terms under "uniform"."""
    run = quick_jit(
        lambda params, batch, draws, weighting: tiny_loss(
            params,
            batch,
            draws,
            config=DistillationConfig(pesq_weight=0.0, si_sdr_weight=0.0, weighting=weighting),
        )[0],
        static_argnums=3,
    )
    items = [
        run(
            PARAMS,
            Batch(*(a[i : i + 1] for a in BATCH)),
            DistillationDraws(*(a[i : i + 1] for a in DRAWS)),
            "uniform",
        )
        for i in range(2)
    ]
    weights = np.asarray(TINY.sde.timesteps(30)[DRAWS.n]) ** -2.0
    expected = np.mean(weights * np.asarray(items))
    assert relative_error(run(PARAMS, BATCH, DRAWS, "snr"), expected) < 1e-4


def test_without_the_consistency_term_neither_teacher_nor_target_runs():
    class Absent(ScoreModel):
        def score(self, params, x_t, y, t):
            raise AssertionError("the teacher ran")

    config = DistillationConfig(consistency_weight=0.0, pesq_weight=0.0)
    loss = lambda params: distillation_loss(  # noqa: E731
        params,
        BATCH,
        DRAWS,
        model=TINY,
        target_params=None,
        teacher=Absent(TINY.config),
        teacher_params=None,
        config=config,
    )
    _, terms = jax.eval_shape(loss, PARAMS["student"])
    assert set(terms) == {"si_sdr", "loss"}


def test_draws_have_their_distributions():
    draws = draw_distillation(jax.random.key(0), (4000, 4, 4), DistillationConfig(steps=30))
    assert set(np.asarray(draws.n)) == set(range(29))
    for z in draws[1:]:
        assert z.shape == (4000, 4, 4)
        assert np.mean(np.abs(z) ** 2) == pytest.approx(1, abs=0.02)
    assert abs(np.mean(draws.z * np.conj(draws.corrector))) < 0.02
    assert abs(np.mean(draws.corrector * np.conj(draws.predictor))) < 0.02


def test_draws_are_a_function_of_their_key():
    config = DistillationConfig()
    first, again, other = (draw_distillation(jax.random.key(seed), (2, 4, 4), config) for seed in (0, 0, 1))
    jax.tree.map(np.testing.assert_array_equal, first, again)
    assert not np.array_equal(first.z, other.z)
