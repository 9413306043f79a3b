"""rosecd_jax.diffusion.samplers: the authors' trajectories, and what every trajectory does."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

from rosecd_jax.diffusion import OUVE, SBVE, samplers
from rosecd_jax.diffusion.solvers import langevin, probability_flow_drift
from tests.fidelity import BRIDGE_ODE, NETWORK
from tests.goldens.packing import golden
from tests.helpers import BRIDGE, STUDENT, TEACHER, quick_jit, random_spectrogram, relative_error

SDE = OUVE()
X0, Y = random_spectrogram(2, 8, 5), random_spectrogram(2, 8, 5, seed=1)


def exact_score(x, y, t):
    """The score of the process that started at X0: a teacher without error."""
    return (SDE.mean(X0, y, t) - x) / SDE.std(t)[:, None, None] ** 2


def shrink(x, y, t):
    """A denoiser that is cheap and uses all that it is given."""
    return 0.5 * x + 0.25j * y * t[:, None, None]


SAMPLERS = {
    "pc": (samplers.predictor_corrector, exact_score),
    "predictor": (samplers.predictor_only, exact_score),
    "consistency": (samplers.consistency, shrink),
    "ode": (samplers.probability_flow, exact_score),
    "bridge sde": (samplers.bridge_diffusion, shrink),
}
every_sampler = pytest.mark.parametrize("name", SAMPLERS)


def stepwise(name, y, z, steps):
    sampler, function = SAMPLERS[name]
    sde = SBVE() if name.startswith("bridge") else SDE
    return sampler(function, sde, y, lambda i: z[i], steps)


@functools.cache
def compiled(name, steps):
    """(y, z) -> a whole trajectory; z [2 · steps + 1, ...] is more noise than most need."""
    return quick_jit(lambda y, z: stepwise(name, y, z, steps))


def noise(steps, seed=2):
    return random_spectrogram(2 * steps + 1, *Y.shape, seed=seed, scale=np.sqrt(0.5))


@pytest.fixture
def run(networks, teacher_program, student_program, bridge_program, speech):
    """Our trajectory with the authors' noise, step by step in Python around a network that is compiled once
    for all tests; another test says that a compiled trajectory is the same."""
    functions = {
        "teacher": lambda *state: teacher_program(networks["teacher"], *state)["score"],
        "student": lambda *state: student_program(networks["student"], *state)["denoise"],
        "sb": lambda *state: bridge_program(networks["sb"], *state)["denoise"],
    }
    models = {"teacher": TEACHER, "student": STUDENT, "sb": BRIDGE}

    def run(sampler, network, noise, *arguments, **options):
        used = []

        def draw(i):
            used.append(int(i))
            return noise[int(i)]

        draws = () if noise is None else (draw,)
        with jax.disable_jit():
            y = jnp.asarray(speech.y[:1])
            out = sampler(functions[network], models[network].sde, y, *draws, *arguments, **options)
        assert used == list(range(0 if noise is None else len(noise))), "draws are used once each, in order"
        return out

    return run


@pytest.mark.fidelity
@pytest.mark.parametrize(
    ("name", "sampler", "network", "steps", "draws"),
    [
        ("pc_ald", samplers.predictor_corrector, "teacher", 4, 9),
        ("pc_langevin", functools.partial(samplers.predictor_corrector, corrector=langevin), "teacher", 3, 7),
        ("predictor_only", samplers.predictor_only, "teacher", 4, 5),
        ("multistep3", samplers.consistency, "student", 3, 3),
        ("sb_sde", samplers.bridge_diffusion, "sb", 5, 5),
    ],
)
def test_trajectories_agree_with_the_authors(agree, run, name, sampler, network, steps, draws):
    arrays = golden("samplers")
    # Those with the teacher draw from the same seed: pc_ald draws most.
    noise = arrays["pc_ald/noise" if network == "teacher" else f"{name}/noise"][:draws]
    agree(f"sampler: {name}", run(sampler, network, noise, steps), arrays[f"{name}/out"], NETWORK)


@pytest.mark.fidelity
def test_one_step_agrees_with_the_authors_and_so_does_its_wave(agree, run):
    arrays = golden("samplers")
    out = run(samplers.consistency, "student", arrays["onestep/noise"])
    agree("sampler: onestep", out, arrays["onestep/out"], NETWORK)
    wave = STUDENT.front_end.synthesize(out, 8064)
    agree("sampler: onestep, wave", wave, arrays["onestep/wav"], NETWORK)


@pytest.mark.fidelity
def test_the_bridges_estimate_agrees_with_the_authors(agree, networks, bridge_program, speech):
    arrays = golden("network")
    estimate = bridge_program(networks["sb"], arrays["x_t"], speech.y[1:], arrays["t"])["denoise"]
    agree("ncsnpp_v2: estimate_sb", estimate, arrays["estimate_sb"], NETWORK)


@pytest.mark.fidelity
def test_the_bridges_ode_agrees_with_the_authors(agree, run):
    """Their first step takes the difference of two weights above 5000 in float32: one unit in the last place
    of a weight moves the result by 5e-4. Ours adds the weights up first."""
    out = run(samplers.bridge_probability_flow, "sb", None, 5)
    agree("sampler: sb_ode", out, golden("samplers")["sb_ode/out"], BRIDGE_ODE)


@pytest.mark.fidelity
def test_the_probability_flow_agrees_with_the_authors(agree, networks, speech):
    """Our right-hand side, integrated by their adaptive method, which calls a network of random parameters
    some thousand times. Our own method has fixed steps and would need as many."""
    arrays, sde, y = golden("samplers"), TEACHER.sde, speech.y[:1]

    @jax.jit
    def slope(params, t, x):
        score = functools.partial(TEACHER.score, params)
        return probability_flow_drift(score, sde, x, y, t)

    def flat_slope(t, x):
        state = jnp.asarray(x.reshape(y.shape), jnp.complex64)
        return np.asarray(slope(networks["teacher"], jnp.full(1, t, jnp.float32), state)).ravel()

    start = np.asarray(sde.prior(y, arrays["ode/noise"][0])).ravel()
    span = sde.end_time, sde.t_eps
    solution = scipy.integrate.solve_ivp(flat_slope, span, start, rtol=1e-5, atol=1e-5)
    agree("sampler: ode, adaptive", solution.y[:, -1].reshape(y.shape), arrays["ode/out"], NETWORK)


@every_sampler
@pytest.mark.parametrize("steps", [1, 5])
def test_a_compiled_trajectory_is_the_same_as_one_step_by_step(name, steps):
    with jax.disable_jit():
        expected = stepwise(name, jnp.asarray(Y), noise(steps), steps)
    assert relative_error(compiled(name, steps)(Y, noise(steps)), expected) < 1e-5


@pytest.mark.parametrize(
    ("name", "steps", "calls"),
    [("pc", 30, 60), ("predictor", 30, 30), ("consistency", 1, 1), ("consistency", 5, 5)],
)
def test_how_often_and_when_a_trajectory_calls_the_network(name, steps, calls):
    times = []
    sampler, function = SAMPLERS[name]

    def counted(x, y, t):
        jax.debug.callback(lambda t: times.append(float(t[0])), t)
        return function(x, y, t)

    z = noise(steps)
    jax.block_until_ready(
        quick_jit(lambda y: sampler(counted, SDE, y, lambda i: jnp.asarray(z)[i], steps))(Y)
    )
    jax.effects_barrier()
    assert len(times) == calls
    grid = np.repeat(np.linspace(1, 0.03, steps), calls // steps)
    np.testing.assert_allclose(sorted(times, reverse=True), grid, rtol=1e-5)


def test_the_probability_flow_calls_the_network_twice_a_step_and_once_at_the_end():
    times = []

    def counted(x, y, t):
        times.append(float(t[0]))
        return exact_score(x, y, t)

    with jax.disable_jit():
        samplers.probability_flow(counted, SDE, jnp.asarray(Y), lambda i: noise(5)[i], 5)
    grid = np.linspace(1, 0.03, 6)
    np.testing.assert_allclose(times, [*np.repeat(grid, [1, 2, 2, 2, 2, 1]), 0.03], rtol=1e-5)


def test_a_bridge_asks_its_network_at_the_times_that_it_steps_to():
    times = []

    def counted(x, y, t):
        times.append(float(t[0]))
        return shrink(x, y, t)

    with jax.disable_jit():
        samplers.bridge_probability_flow(counted, SBVE(), jnp.asarray(Y), 5)
        samplers.bridge_diffusion(counted, SBVE(), jnp.asarray(Y), lambda i: noise(5)[i], 5)
    np.testing.assert_allclose(times, 2 * list(np.linspace(1, 1e-4, 6)[1:]), rtol=1e-5)


def test_a_bridge_that_knows_the_clean_speech_leads_there():
    for steps in (1, 50):
        ode = samplers.bridge_probability_flow(lambda x, y, t: X0, SBVE(), Y, steps)
        sde = samplers.bridge_diffusion(lambda x, y, t: X0, SBVE(), Y, lambda i: 0 * Y, steps)
        assert np.abs(ode - X0).max() < 0.02
        assert np.abs(sde - X0).max() < 0.02


@pytest.mark.parametrize("name", ["pc", "predictor", "ode"])
def test_an_exact_score_leads_back_to_clean_speech(name):
    result = compiled(name, 200)(Y, noise(200))
    assert np.abs(result - SDE.mean(X0, Y, jnp.float32(0.03))).max() < 0.15
    assert np.abs(Y - X0).max() > 1


@every_sampler
def test_a_trajectory_is_a_function_of_its_noise(name):
    run = compiled(name, 5)
    first = run(Y, noise(5))
    np.testing.assert_array_equal(run(Y, noise(5)), first)
    assert relative_error(run(Y, noise(5, seed=3)), first) > 1e-4


@every_sampler
def test_items_do_not_mix(name):
    run, other_y, other_noise = compiled(name, 5), Y.copy(), noise(5)
    other_y[0], other_noise[:, 0] = 7, 7j
    before, after = run(Y, noise(5)), run(other_y, other_noise)
    np.testing.assert_array_equal(before[1], after[1])
    assert relative_error(after[0], before[0]) > 1e-3
