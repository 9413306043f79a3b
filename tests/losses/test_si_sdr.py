"""rosecd_jax.losses.si_sdr: the authors' numbers, and what the ratio does not depend on."""

import hypothesis
import hypothesis.strategies as st
import jax
import numpy as np
import pytest

from rosecd_jax.losses import neg_si_sdr
from tests.fidelity import GRADIENT, NETWORK
from tests.goldens.packing import golden

GOLDEN = golden("losses")
CLEAN, ESTIMATE = GOLDEN["clean"], GOLDEN["estimate"]


def gradient(estimate, reference):
    return jax.grad(lambda e: neg_si_sdr(e, reference).sum())(estimate)


@pytest.mark.fidelity
def test_value_and_gradient_agree_with_the_authors(agree):
    agree("loss: neg_si_sdr", neg_si_sdr(ESTIMATE, CLEAN), GOLDEN["neg_si_sdr"], NETWORK)
    slope = gradient(ESTIMATE, CLEAN)
    agree("loss: neg_si_sdr, gradient", slope, GOLDEN["neg_si_sdr_grad"], GRADIENT)


@hypothesis.given(st.floats(-30, 30))
@hypothesis.settings(deadline=None, max_examples=30)
def test_noise_at_right_angles_gives_its_ratio(ratio):
    speech, noise = np.linalg.qr(np.random.default_rng(0).normal(size=(1000, 3)) - 0.0)[0].T[:2]
    speech, noise = (10 * (w - w.mean()) for w in (speech, noise))
    noise -= np.dot(noise, speech) / np.dot(speech, speech) * speech
    noise *= np.linalg.norm(speech) / np.linalg.norm(noise) * 10 ** (-ratio / 20)
    waves = ((speech + noise)[None].astype(np.float32), speech[None].astype(np.float32))
    assert neg_si_sdr(*waves)[0] == pytest.approx(-ratio, abs=0.01)


@hypothesis.given(st.floats(-20, 60), st.floats(1, 40))
@hypothesis.settings(deadline=None, max_examples=30)
def test_a_limit_is_an_error_that_is_always_there(ratio, limit):
    speech, noise = np.linalg.qr(np.random.default_rng(1).normal(size=(4000, 3)))[0].T[:2] * 100
    speech, noise = speech - speech.mean(), noise - noise.mean()
    noise -= np.dot(noise, speech) / np.dot(speech, speech) * speech
    noise *= np.linalg.norm(speech) / np.linalg.norm(noise) * 10 ** (-ratio / 20)
    waves = ((speech + noise)[None].astype(np.float32), speech[None].astype(np.float32))
    expected = 10 * np.log10(10 ** (-ratio / 10) + 10 ** (-limit / 10))
    assert neg_si_sdr(*waves, limit)[0] == pytest.approx(expected, abs=0.01)
    assert neg_si_sdr(*waves, limit)[0] >= -limit


@hypothesis.given(st.floats(0.1, 10), st.floats(-1, 1))
@hypothesis.settings(deadline=None, max_examples=20)
def test_scale_and_offset_of_the_estimate_do_not_matter(scale, offset):
    changed = np.float32(scale) * ESTIMATE + np.float32(offset)
    np.testing.assert_allclose(neg_si_sdr(changed, CLEAN), GOLDEN["neg_si_sdr"], atol=0.01)


def test_the_gradient_is_at_right_angles_to_the_estimate():
    cosine = np.sum(gradient(ESTIMATE, CLEAN) * ESTIMATE, -1) / np.linalg.norm(ESTIMATE, axis=-1)
    assert np.abs(cosine).max() < 1e-3 * np.linalg.norm(GOLDEN["neg_si_sdr_grad"])


@pytest.mark.parametrize(
    ("estimate", "reference"),
    [(0 * CLEAN, CLEAN), (CLEAN, 0 * CLEAN), (0 * CLEAN, 0 * CLEAN), (CLEAN, CLEAN)],
    ids=["silent estimate", "silent reference", "both silent", "equal"],
)
def test_value_and_gradient_are_finite(estimate, reference):
    assert np.isfinite(neg_si_sdr(estimate, reference)).all()
    assert np.isfinite(gradient(estimate, reference)).all()
