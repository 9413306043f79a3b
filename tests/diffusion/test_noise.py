"""rosecd_jax.diffusion.noise: its distribution, and what it does and does not depend on."""

import jax
import numpy as np
import pytest

from rosecd_jax.diffusion.noise import complex_normal, frame_noise, noise_source

KEY = jax.random.key(0)


@pytest.mark.parametrize(
    "z",
    [complex_normal(KEY, (1000, 400)), frame_noise(KEY, 1000, 400), noise_source(KEY[None], 1000, 400)(3)],
    ids=["complex_normal", "frame_noise", "noise_source"],
)
def test_noise_is_circular_of_unit_variance(z):
    z = np.asarray(z)
    assert z.dtype == np.complex64
    assert np.mean(np.abs(z) ** 2) == pytest.approx(1, abs=0.01)
    assert np.var(z.real) == pytest.approx(0.5, abs=0.005)
    assert np.var(z.imag) == pytest.approx(0.5, abs=0.005)
    assert abs(np.mean(z)) < 0.01
    assert abs(np.mean(z**2)) < 0.01


def test_noise_of_neighbouring_frames_bins_and_draws_is_independent():
    draw = noise_source(KEY[None], 300, 300)
    first, second = np.asarray(draw(0))[0], np.asarray(draw(1))[0]
    for one, other in ((first, second), (first[1:], first[:-1]), (first[:, 1:], first[:, :-1])):
        assert abs(np.mean(one * other.conj())) < 0.02


def test_padding_leaves_the_noise_of_the_frames_before_it():
    np.testing.assert_array_equal(frame_noise(KEY, 16, 64)[:, :40], frame_noise(KEY, 16, 40))


def test_a_window_has_the_noise_of_its_frames():
    np.testing.assert_array_equal(
        frame_noise(KEY, 16, 64)[:, 20:50], frame_noise(KEY, 16, 30, first_frame=20)
    )


def test_an_item_has_the_noise_of_its_key_whatever_its_batch():
    keys = jax.random.split(KEY, 3)
    together = noise_source(keys, 16, 8)(5)
    for key, z in zip(keys, together, strict=True):
        np.testing.assert_array_equal(noise_source(key[None], 16, 8)(5)[0], z)
    assert not np.array_equal(together[0], together[1])


@pytest.mark.parametrize("shape", [(3, 16, 8), (5,), (2, 1)])
def test_flat_noise_is_that_of_the_whole_shape(shape):
    """Seeds keep their meaning whatever the shape of the kernel that draws."""
    real, imaginary = np.asarray(jax.random.normal(KEY, (2, *shape))) * np.float32(np.sqrt(0.5))
    np.testing.assert_array_equal(complex_normal(KEY, shape), real + 1j * imaginary)
