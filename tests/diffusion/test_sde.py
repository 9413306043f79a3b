"""rosecd_jax.diffusion.sde: the authors' numbers, and the equations that the closed forms solve."""

import hypothesis
import hypothesis.strategies as st
import jax.numpy as jnp
import numpy as np
import pytest

from rosecd_jax.diffusion import OUVE, SBVE
from tests.fidelity import CLOSED_FORM
from tests.goldens.packing import golden
from tests.helpers import random_spectrogram, relative_error

GOLDEN = golden("sde")
OUVE_48K = OUVE(gamma=2.0, sigma_min=0.1, sigma_max=1.0)
both_rates = pytest.mark.parametrize("sde", [OUVE(), OUVE_48K], ids=["16k", "48k"])
X0, Y = random_spectrogram(2, 8, 5), random_spectrogram(2, 8, 5, seed=1)


@pytest.mark.fidelity
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("t", lambda x, y, t: OUVE().timesteps()),
        ("ouve_std", lambda x, y, t: OUVE().std(t)),
        ("ouve_diffusion", lambda x, y, t: OUVE().diffusion(t)),
        ("ouve_mean_t7", lambda x, y, t: OUVE().mean(x, y, t[7])),
        ("ouve_drift_t7", lambda x, y, t: OUVE().drift(x, y, t[7])),
        ("sbve_std", lambda x, y, t: SBVE().std(t)),
        ("sbve_mean_t7", lambda x, y, t: SBVE().mean(x, y, t[7])),
        ("sbve_sigma_t", lambda x, y, t: SBVE().sigmas(t).forward),
        ("sbve_sigma_bar", lambda x, y, t: SBVE().sigmas(t).backward),
        ("sbve_sigma_T", lambda x, y, t: np.float32(SBVE().sigmas(t).total)),
    ],
)
def test_the_processes_agree_with_the_authors(agree, name, value):
    ours = value(*(GOLDEN[argument] for argument in ("x", "y", "t")))
    agree(f"process: {name}", ours, GOLDEN[name], CLOSED_FORM)


@both_rates
@hypothesis.given(st.floats(0.03, 1))
@hypothesis.settings(deadline=None, max_examples=30)
def test_the_variance_solves_its_equation(sde, t):
    """d/dt σ² = −2γ σ² + g², by a central difference."""
    h = 0.01
    before, variance, after = (np.float64(sde.std(np.float32(s))) ** 2 for s in (t - h, t, t + h))
    expected = -2 * sde.gamma * variance + np.float64(sde.diffusion(np.float32(t))) ** 2
    assert (after - before) / (2 * h) == pytest.approx(expected, rel=5e-3)


@both_rates
def test_the_mean_solves_its_equation(sde):
    """d/dt μ = γ (y − μ), by a central difference."""
    t, h = np.float32(0.4), np.float32(0.01)
    slope = (sde.mean(X0, Y, t + h) - sde.mean(X0, Y, t - h)) / (2 * h)
    assert relative_error(slope, sde.drift(sde.mean(X0, Y, t), Y, t)) < 1e-3


@both_rates
def test_the_process_begins_at_clean_speech_and_ends_at_noisy_speech(sde):
    np.testing.assert_array_equal(sde.mean(X0, Y, jnp.float32(0)), X0)
    np.testing.assert_allclose(sde.mean(X0, Y, jnp.float32(20)), Y, atol=1e-6)
    assert sde.std(jnp.float32(0)) == 0


@both_rates
@pytest.mark.parametrize("t", [1e-7, 1e-5, 1e-3, 0.03, 0.5, 1.0])
def test_std_keeps_its_digits_at_small_times(sde, t):
    t = np.float32(t)
    log_r, t64 = np.log(sde.sigma_max / sde.sigma_min), np.float64(t)
    growth = np.exp(-2 * sde.gamma * t64) * np.expm1(2 * (log_r + sde.gamma) * t64)
    expected = sde.sigma_min * np.sqrt(growth * log_r / (sde.gamma + log_r))
    assert sde.std(t) == pytest.approx(expected, rel=1e-6)


def test_each_item_has_its_own_time():
    sde, times = OUVE(), jnp.array([0.2, 0.9])
    alone = jnp.stack([sde.mean(x, y, t) for x, y, t in zip(X0, Y, times, strict=True)])
    np.testing.assert_allclose(sde.mean(X0, Y, times), alone, atol=1e-7)


@pytest.mark.parametrize("steps", [1, 2, 30, 50])
def test_time_runs_from_one_down_to_t_eps(steps):
    times = np.asarray(OUVE(t_eps=0.05).timesteps(steps))
    assert times.shape == (steps,)
    assert times[0] == 1
    assert steps == 1 or times[-1] == np.float32(0.05)
    assert (np.diff(times) < 0).all()


def test_a_trajectory_starts_at_noisy_speech_plus_noise():
    sde, z = OUVE(), random_spectrogram(2, 8, 5, seed=2)
    np.testing.assert_allclose(sde.prior(Y, z), Y + np.asarray(sde.std(jnp.float32(1))) * z, atol=1e-7)


# The Schrödinger bridge.

BRIDGE = SBVE()


def test_what_is_left_of_the_bridge_at_noisy_speech_is_its_epsilon():
    """The authors' number at t = 1, where the difference of two squares could leave rounding only."""
    assert BRIDGE.sigmas(GOLDEN["t"][:1]).backward[0] == pytest.approx(GOLDEN["sbve_sigma_bar"][0], rel=1e-5)


def test_the_bridge_spans_from_clean_to_noisy_speech():
    ends = jnp.float32([0, 1])
    np.testing.assert_allclose(BRIDGE.mean(X0, Y, ends), [X0[0], Y[1]], atol=1e-6)
    np.testing.assert_allclose(BRIDGE.std(ends), 0, atol=2e-4)
    assert BRIDGE.std(jnp.float32(0.5)) > 0.3
    np.testing.assert_array_equal(BRIDGE.prior(Y, X0), Y)


@hypothesis.given(st.floats(0.02, 0.98))
@hypothesis.settings(deadline=None, max_examples=30)
def test_the_bridges_variance_grows_by_its_diffusion(t):
    """d/dt σ_t² = g² = −d/dt σ̄_t², by a central difference."""
    h = 0.01
    before, after = (BRIDGE.sigmas(np.float32(s)) for s in (t - h, t + h))
    g2 = float(BRIDGE.diffusion(np.float32(t))) ** 2
    assert float(after.forward**2 - before.forward**2) / (2 * h) == pytest.approx(g2, rel=5e-3)
    assert float(before.backward**2 - after.backward**2) / (2 * h) == pytest.approx(g2, rel=5e-3)


def test_the_bridge_without_its_ends_does_not_drift():
    np.testing.assert_array_equal(BRIDGE.drift(X0, Y, jnp.float32(0.3)), 0 * X0)
