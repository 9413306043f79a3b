"""rosecd_jax.diffusion.samplers: the authors' trajectories, and what every trajectory does."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rosecd_jax.diffusion import OUVE, SBVE, samplers
from rosecd_jax.diffusion.solvers import langevin
from tests.helpers import BRIDGE, STUDENT, TEACHER, quick_jit, random_spectrogram, relative_error

SDE = OUVE()
X0, Y = random_spectrogram(2, 8, 5), random_spectrogram(2, 8, 5, seed=1)


def exact_score(x, y, t):
    """The score of the process that started at X0: a teacher without error."""
    t = t[:, None, None]
    return (SDE.mean(X0, y, t) - x) / SDE.std(t) ** 2


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


class Golden:
    """A trajectory of the authors. Ours runs step by step in Python around a network that is compiled once
    for all tests; another test says that a compiled trajectory is the same."""

    def __init__(self, file, name):
        # Networks are compiled for two items: the one there is, twice.
        self.y, self.noise, self.out = (
            np.repeat(file[key][..., 0, :, :], 2, axis=-3) for key in ("y", f"{name}/noise", f"{name}/out")
        )

    def run(self, sampler, function, sde, **options):
        used = []

        def draw(i):
            used.append(int(i))
            return self.noise[int(i)]

        with jax.disable_jit():
            out = sampler(function, sde, jnp.asarray(self.y), draw, **options)
        assert used == list(range(len(self.noise))), "draws are used once each, in their order"
        return out


@pytest.fixture(scope="module")
def file(goldens):
    return goldens("samplers")


@pytest.fixture(scope="module")
def teacher_score(teacher_program, networks):
    return lambda x, y, t: teacher_program(networks["teacher"], x, y, t)["score"]


@pytest.fixture(scope="module")
def student_denoise(student_program, networks):
    return lambda x, y, t: student_program(networks["student"], x, y, t)["denoise"]


def test_predictor_corrector_agrees_with_the_authors(file, teacher_score):
    golden = Golden(file, "pc_ald")
    out = golden.run(samplers.predictor_corrector, teacher_score, TEACHER.sde, steps=4)
    assert relative_error(out, golden.out) < 1e-4


def test_predictor_only_agrees_with_the_authors(file, teacher_score):
    golden = Golden(file, "predictor_only")
    out = golden.run(samplers.predictor_only, teacher_score, TEACHER.sde, steps=4)
    assert relative_error(out, golden.out) < 1e-4


def test_one_step_agrees_with_the_authors_and_so_does_its_wave(file, student_denoise):
    golden = Golden(file, "onestep")
    out = golden.run(samplers.consistency, student_denoise, STUDENT.sde)
    assert relative_error(out, golden.out) < 1e-4
    assert relative_error(STUDENT.front_end.synthesise(out[:1], 8064), file["onestep/wav"]) < 1e-4


def test_three_consistency_steps_agree_with_the_authors(file, student_denoise):
    golden = Golden(file, "multistep3")
    out = golden.run(samplers.consistency, student_denoise, STUDENT.sde, steps=3)
    assert relative_error(out, golden.out) < 1e-4


def test_the_langevin_corrector_agrees_with_the_authors(file, teacher_score):
    golden = Golden(file, "pc_langevin")
    out = golden.run(samplers.predictor_corrector, teacher_score, TEACHER.sde, steps=3, corrector=langevin)
    assert relative_error(out, golden.out) < 1e-4


@pytest.fixture(scope="module")
def bridge_denoise(bridge_program, networks):
    return lambda x, y, t: bridge_program(networks["sb"], x, y, t)["denoise"]


def test_the_bridges_estimate_agrees_with_the_authors(goldens, bridge_denoise):
    golden = goldens("network")
    estimate = bridge_denoise(golden["x_t"][:, 0], golden["y"][:, 0], golden["t"])
    assert relative_error(estimate, golden["estimate_sb"][:, 0]) < 1e-4


def test_the_bridges_sde_agrees_with_the_authors(file, bridge_denoise):
    golden = Golden(file, "sb_sde")
    out = golden.run(samplers.bridge_diffusion, bridge_denoise, BRIDGE.sde, steps=5)
    assert relative_error(out, golden.out) < 1e-4


def test_the_bridges_ode_agrees_with_the_authors(file, bridge_denoise):
    """Their first step takes the difference of two weights above 5000 in float32: one unit in the last place
    of a weight moves the result by 5e-4. Ours adds the weights up first."""
    y, out = (jnp.repeat(file[name][:, 0], 2, axis=0) for name in ("y", "sb_ode/out"))
    with jax.disable_jit():
        ours = samplers.bridge_probability_flow(bridge_denoise, BRIDGE.sde, y, steps=5)
    assert relative_error(ours, out) < 5e-4


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
