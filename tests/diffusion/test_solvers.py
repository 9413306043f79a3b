"""rosecd_jax.diffusion.solvers: one step is its formula, item by item."""

import jax.numpy as jnp
import numpy as np
import pytest

from rosecd_jax.diffusion import OUVE
from rosecd_jax.diffusion.solvers import annealed_langevin, reverse_diffusion
from tests.helpers import random_spectrogram, relative_error

SDE = OUVE()
X, Y, Z = (random_spectrogram(2, 8, 5, seed=seed) for seed in range(3))
T, DT, SNR = np.float32([0.9, 0.2]), np.float32([-0.03, -0.1]), 0.5


def score(x, y, t):
    return -3 * x + 1j * y * t[:, None, None]


def langevin(x, y, t, z):
    return annealed_langevin(score, SDE, x, y, t, SNR, z)


def reverse(x, y, t, z):
    return reverse_diffusion(score, SDE, x, y, t, jnp.asarray(DT[: len(t)]), z)


def test_annealed_langevin_is_its_formula():
    step = 2 * (SNR * np.asarray(SDE.std(T))[:, None, None]) ** 2
    expected_mean = X + step * score(X, Y, T)
    x, x_mean = langevin(X, Y, T, Z)
    assert relative_error(x_mean, expected_mean) < 1e-6
    assert relative_error(x, expected_mean + np.sqrt(2 * step) * Z) < 1e-6


def test_reverse_diffusion_is_its_formula():
    g, size = np.asarray(SDE.diffusion(T))[:, None, None], -DT[:, None, None]
    expected_mean = X - SDE.gamma * (Y - X) * size + g**2 * size * score(X, Y, T)
    x, x_mean = reverse(X, Y, T, Z)
    assert relative_error(x_mean, expected_mean) < 1e-6
    assert relative_error(x, expected_mean + g * np.sqrt(size) * Z) < 1e-6


@pytest.mark.parametrize("solver", [langevin, reverse])
def test_without_noise_a_step_is_its_mean(solver):
    x, x_mean = solver(X, Y, T, 0 * Z)
    np.testing.assert_array_equal(x, x_mean)


@pytest.mark.parametrize("solver", [langevin, reverse])
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
