"""rosecd_jax.losses.pesq: torch-pesq's numbers, and what a distance must do."""

import jax
import numpy as np
import pytest

from rosecd_jax.losses import pesq_loss
from rosecd_jax.losses.pesq import TAPS, _impulse_responses
from tests.fidelity import GRADIENT, NETWORK
from tests.goldens.packing import golden
from tests.helpers import relative_error

GOLDEN = golden("losses")
CLEAN, ESTIMATE = GOLDEN["clean"], GOLDEN["estimate"]


@pytest.fixture(scope="module")
def value_and_gradient():
    """(reference, degraded) -> ([B], gradient with respect to degraded)."""

    def total(degraded, reference):
        values = pesq_loss(reference, degraded)
        return values.sum(), values

    compiled = jax.jit(jax.grad(total, has_aux=True))
    return lambda reference, degraded: compiled(degraded, reference)[::-1]


@pytest.mark.fidelity
def test_value_and_gradient_agree_with_torch_pesq(agree, value_and_gradient):
    value, gradient = value_and_gradient(CLEAN, ESTIMATE)
    agree("loss: pesq", value, GOLDEN["pesq_loss"], NETWORK)
    agree("loss: pesq, gradient", gradient, GOLDEN["pesq_grad"], GRADIENT)


def test_equal_waves_have_no_distance(value_and_gradient):
    value, gradient = value_and_gradient(CLEAN, CLEAN)
    np.testing.assert_allclose(value, 0, atol=1e-6)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize(
    ("reference", "degraded"),
    [(CLEAN, 0 * CLEAN), (0 * CLEAN, CLEAN), (0 * CLEAN, 0 * CLEAN)],
    ids=["silent estimate", "silent reference", "both silent"],
)
def test_silence_has_a_finite_value_and_gradient(value_and_gradient, reference, degraded):
    value, gradient = value_and_gradient(reference, degraded)
    assert np.isfinite(value).all()
    assert np.isfinite(gradient).all()


def test_more_noise_is_worse(value_and_gradient):
    noise = np.random.default_rng(0).normal(size=CLEAN.shape).astype(np.float32)
    noise *= np.linalg.norm(CLEAN, axis=-1, keepdims=True) / np.linalg.norm(noise, axis=-1, keepdims=True)
    values = [value_and_gradient(CLEAN, CLEAN + 10 ** (-snr / 20) * noise)[0] for snr in (40, 30, 20, 10, 0)]
    assert (np.diff(values, axis=0) > 0).all()


def test_level_does_not_matter(value_and_gradient):
    value, _ = value_and_gradient(np.float32(0.01) * CLEAN, np.float32(5) * ESTIMATE)
    assert relative_error(value, GOLDEN["pesq_loss"]) < 1e-3


def test_items_do_not_mix(value_and_gradient):
    value, _ = value_and_gradient(CLEAN[::-1], ESTIMATE[::-1])
    assert relative_error(value, GOLDEN["pesq_loss"][::-1]) < 1e-4


@pytest.mark.parametrize("samples", [0, 512, 5000, 5247])
def test_waves_of_less_than_twenty_frames_are_refused(samples):
    with pytest.raises(ValueError, match="at least 5248 samples"):
        pesq_loss(np.zeros((1, samples), np.float32), np.zeros((1, samples), np.float32))


def test_twenty_frames_and_a_batch_of_one_are_enough():
    assert np.isfinite(jax.jit(pesq_loss)(CLEAN[:1, :5248], ESTIMATE[:1, :5248])).all()


def test_the_impulse_responses_have_died_away():
    for response in _impulse_responses():
        assert len(response) == TAPS
        assert np.abs(response[-64:]).max() < 1e-20 * np.abs(response).max()
