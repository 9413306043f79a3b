"""rosecd_jax.diffusion.solvers: one step is its formula, item by item."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from rosecd_jax.diffusion import OUVE, SBVE, solvers
from rosecd_jax.diffusion.solvers import annealed_langevin, reverse_diffusion
from tests.helpers import random_spectrogram, relative_error

SDE, BRIDGE = OUVE(), SBVE()
X, Y, Z = (random_spectrogram(2, 8, 5, seed=seed) for seed in range(3))
T, DT, SNR = np.float32([0.9, 0.2]), np.float32([-0.03, -0.1]), 0.5


def score(x, y, t):
    return -3 * x + 1j * y * t[:, None, None]


def annealed(x, y, t, z):
    return annealed_langevin(score, SDE, x, y, t, SNR, z)


def step(name):
    """A solver that steps by dt, as (x, y, t, z) -> (x, x_mean)."""
    solver = getattr(solvers, name)
    return lambda x, y, t, z: solver(score, SDE, x, y, t, jnp.asarray(DT[: len(t)]), z)


def bridge(name):
    solver = getattr(solvers, name)
    return lambda x, y, t, z: solver(score, BRIDGE, x, y, t, t + DT[: len(t)], z)


reverse = step("reverse_diffusion")
ODE = {name: step(name) for name in ("euler", "heun", "mix")}
BRIDGES = {name: bridge(name) for name in ("bridge_ode", "bridge_sde")}
EVERY = {"annealed_langevin": annealed, "reverse_diffusion": reverse, **ODE, **BRIDGES}
every_solver = pytest.mark.parametrize("solver", EVERY.values(), ids=EVERY)


def test_annealed_langevin_is_its_formula():
    step = 2 * (SNR * np.asarray(SDE.std(T))[:, None, None]) ** 2
    expected_mean = X + step * score(X, Y, T)
    x, x_mean = annealed(X, Y, T, Z)
    assert relative_error(x_mean, expected_mean) < 1e-6
    assert relative_error(x, expected_mean + np.sqrt(2 * step) * Z) < 1e-6


def test_reverse_diffusion_is_its_formula():
    g, size = np.asarray(SDE.diffusion(T))[:, None, None], -DT[:, None, None]
    expected_mean = X - SDE.gamma * (Y - X) * size + g**2 * size * score(X, Y, T)
    x, x_mean = reverse(X, Y, T, Z)
    assert relative_error(x_mean, expected_mean) < 1e-6
    assert relative_error(x, expected_mean + g * np.sqrt(size) * Z) < 1e-6


@every_solver
def test_without_noise_a_step_is_its_mean(solver):
    x, x_mean = solver(X, Y, T, 0 * Z)
    np.testing.assert_array_equal(x, x_mean)


@every_solver
def test_an_item_does_not_depend_on_its_neighbour(solver):
    together = solver(X, Y, T, Z)
    alone = solver(X[:1], Y[:1], T[:1], Z[:1])
    np.testing.assert_allclose(together[0][:1], alone[0], atol=1e-6)


def test_time_and_step_may_be_scalars():
    t, dt = jnp.float32(0.5), jnp.float32(-0.1)

    def score_fn(x, y, t):
        return -x

    for_all = reverse_diffusion(score_fn, SDE, X, Y, t, dt, Z)[0]
    per_item = reverse_diffusion(score_fn, SDE, X, Y, jnp.full(2, t), jnp.full(2, dt), Z)[0]
    np.testing.assert_allclose(for_all, per_item, atol=1e-6)


def flow(x, t):
    """f − ½ g² s, written out."""
    g = np.asarray(SDE.diffusion(t))[:, None, None]
    return SDE.gamma * (Y - x) - 0.5 * g**2 * score(x, Y, t)


def test_langevin_is_its_formula_with_norms_averaged_over_the_batch():
    norms = [np.mean([np.linalg.norm(item) for item in v]) for v in (Z, np.asarray(score(X, Y, T)))]
    size = 2 * (SNR * norms[0] / norms[1]) ** 2
    x, x_mean = solvers.langevin(score, SDE, X, Y, T, SNR, Z)
    assert relative_error(x_mean, X + size * score(X, Y, T)) < 1e-6
    assert relative_error(x, x_mean + np.sqrt(2 * size) * Z) < 1e-6


def test_langevin_per_item_is_langevin_of_each_item_alone():
    x, x_mean = solvers.langevin_per_item(score, SDE, X, Y, T, SNR, Z)
    for i in range(2):
        one = slice(i, i + 1)
        alone = solvers.langevin(score, SDE, X[one], Y[one], T[one], SNR, Z[one])
        np.testing.assert_allclose(x[one], alone[0], rtol=1e-6)
        np.testing.assert_allclose(x_mean[one], alone[1], rtol=1e-6)


def test_euler_heun_and_mix_are_their_formulas():
    dt, g = DT[:, None, None], np.asarray(SDE.diffusion(T))[:, None, None]
    noise = g * np.sqrt(-dt) * Z
    by_euler = X + flow(X, T) * dt
    by_heun = X + 0.5 * (flow(X, T) + flow(by_euler, T + DT)) * dt
    reverse_sde = X + (SDE.gamma * (Y - X) - g**2 * score(X, Y, T)) * dt
    means = {"euler": by_euler, "heun": by_heun, "mix": 0.5 * (by_euler + reverse_sde)}
    noisy = {
        "euler": by_euler + noise,
        "heun": by_heun + noise,
        "mix": 0.5 * (by_euler + reverse_sde + noise),
    }
    for name, solver in ODE.items():
        x, x_mean = solver(X, Y, T, Z)
        assert relative_error(x_mean, means[name]) < 1e-6
        assert relative_error(x, noisy[name]) < 1e-6


def exact_bridge(x0):
    return lambda x, y, t: x0


@pytest.mark.parametrize("name", ["bridge_ode", "bridge_sde"])
def test_a_bridges_step_with_the_clean_speech_known_stays_on_the_bridge(name):
    """From μ_t at t, the step without noise leads to μ at the next time."""
    x0, t, t_next = X, jnp.float32([0.9, 0.5]), jnp.float32([0.6, 0.2])
    solver = getattr(solvers, name)
    _, x_mean = solver(exact_bridge(x0), BRIDGE, BRIDGE.mean(x0, Y, t), Y, t, t_next, Z)
    assert relative_error(x_mean, BRIDGE.mean(x0, Y, t_next)) < 1e-5


def test_the_bridges_sde_has_the_bridges_variance():
    """σ²(t_next) = κ² σ²(t) + σ'² (1 − κ), where σ is the standard deviation of the bridge."""
    t, t_next = jnp.float32([0.9, 0.5]), jnp.float32([0.6, 0.2])
    zero = jnp.zeros_like(X)
    kept, _ = solvers.bridge_sde(exact_bridge(zero), BRIDGE, jnp.ones_like(X), zero, t, t_next, zero)
    noise, _ = solvers.bridge_sde(exact_bridge(zero), BRIDGE, zero, zero, t, t_next, jnp.ones_like(X))
    variance = np.abs(kept[:, 0, 0] * BRIDGE.std(t)) ** 2 + np.abs(noise[:, 0, 0]) ** 2
    np.testing.assert_allclose(variance, BRIDGE.std(t_next) ** 2, rtol=1e-4)


def test_the_ode_of_an_exact_score_is_solved_to_second_order_by_heun():
    """The distance of the state to μ_t, in units of σ_t, is what the flow keeps."""
    x0 = X

    def exact(x, y, t):
        return (SDE.mean(x0, y, t) - x) / SDE.std(t) ** 2

    def error(name, steps):
        times = np.linspace(1, 0.1, steps + 1, dtype=np.float32)
        x = SDE.mean(x0, Y, jnp.float32(1)) + SDE.std(jnp.float32(1)) * Z
        for t, t_next in itertools.pairwise(times):
            _, x = getattr(solvers, name)(exact, SDE, x, Y, t, t_next - t, Z)
        end = times[-1]
        return relative_error((x - SDE.mean(x0, Y, end)) / SDE.std(end), Z)

    assert error("heun", 40) < error("heun", 20) / 3
    assert error("heun", 40) < error("euler", 40) / 5
