"""rosecd_jax.diffusion.preconditioning: the authors' numbers, and why the scalings are what they are."""

import jax.numpy as jnp
import numpy as np
import pytest

from rosecd_jax.diffusion import preconditioning as scaling
from rosecd_jax.diffusion.preconditioning import Preconditioning
from tests.fidelity import CLOSED_FORM
from tests.goldens.packing import golden
from tests.helpers import random_spectrogram, relative_error

GOLDEN = golden("sde")
EDM = Preconditioning()
SIGMA = np.geomspace(0.01, 2, 50).astype(np.float32)


@pytest.mark.fidelity
@pytest.mark.parametrize("name", ["c_in", "c_out", "c_skip"])
def test_edm_scalings_agree_with_the_authors(agree, name):
    ours = getattr(scaling, name)(EDM, GOLDEN["ouve_std"])
    agree(f"process: {name}_edm", ours, GOLDEN[f"{name}_edm"], CLOSED_FORM)


@pytest.mark.parametrize("sigma_data", [0.05, 0.1, 0.5])
def test_edm_gives_the_network_input_and_target_unit_variance(sigma_data):
    config = Preconditioning(sigma_data=sigma_data)
    c_in, c_out, c_skip = (f(config, SIGMA) for f in (scaling.c_in, scaling.c_out, scaling.c_skip))
    np.testing.assert_allclose(c_in**2 * (sigma_data**2 + SIGMA**2), 1, rtol=1e-5)
    # The network's target is (x0 − c_skip (x0 + σ z)) / c_out.
    variance = (1 - c_skip) ** 2 * sigma_data**2 + c_skip**2 * SIGMA**2
    np.testing.assert_allclose(variance / c_out**2, 1, rtol=1e-4)


def test_constant_scalings_do_not_depend_on_sigma():
    config = Preconditioning(c_in="1", c_out="1", c_skip="0")
    np.testing.assert_array_equal(scaling.c_in(config, SIGMA), 1)
    np.testing.assert_array_equal(scaling.c_out(config, SIGMA), 1)
    np.testing.assert_array_equal(scaling.c_skip(config, SIGMA), 0)


def test_the_score_of_a_perfect_denoiser_points_back_along_the_noise():
    mean, z, sigma = random_spectrogram(2, 4, 3), random_spectrogram(2, 4, 3, seed=1), jnp.float32(0.4)
    score = scaling.score_from_denoised(mean, mean + sigma * z, sigma)
    assert relative_error(score, -z / sigma) < 1e-5


@pytest.mark.parametrize(
    ("scale", "expected"),
    [("sigma", SIGMA), ("1/sigma", 1 / SIGMA), ("-1", -np.ones(50)), ("1", np.ones(50))],
)
def test_the_output_may_be_scaled_by_sigma(scale, expected):
    np.testing.assert_allclose(scaling.c_out(Preconditioning(c_out=scale), SIGMA), expected, rtol=1e-6)


def test_the_skip_connection_may_be_whole():
    np.testing.assert_array_equal(scaling.c_skip(Preconditioning(c_skip="1"), SIGMA), 1)


@pytest.mark.parametrize(("scale", "expected"), [("1", 1 + 0 * SIGMA), ("1/sigma", 1 / SIGMA), ("1/t", 4.0)])
def test_the_network_may_be_divided_by_sigma_or_time(scale, expected):
    config = Preconditioning(network_scaling=scale)
    gain = scaling.network_scaling(config, SIGMA, jnp.full_like(SIGMA, 0.25))
    np.testing.assert_allclose(gain, np.broadcast_to(expected, 50), rtol=1e-6)


def test_a_denoiser_and_its_score_are_two_views_of_one_thing():
    denoised, x_t, sigma = random_spectrogram(2, 4, 3), random_spectrogram(2, 4, 3, seed=1), jnp.float32(0.4)
    score = scaling.score_from_denoised(denoised, x_t, sigma)
    np.testing.assert_allclose(scaling.denoised_from_score(score, x_t, sigma), denoised, atol=1e-6)


@pytest.mark.parametrize(
    ("field", "value"),
    [("c_in", "0"), ("c_out", "0"), ("c_skip", "2"), ("network_scaling", "t"), ("output", "noise")],
)
def test_an_unknown_scaling_is_refused_by_name(field, value):
    with pytest.raises(ValueError, match=rf"preconditioning\.{field} is '{value}'"):
        Preconditioning(**{field: value})
