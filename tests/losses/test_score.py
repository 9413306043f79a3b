"""rosecd_jax.losses.score: the teacher's objective, with and without the authors' slip."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rosecd_jax.losses import Batch, score_loss
from rosecd_jax.losses.score import ScoreDraws, draw, edm_weight
from tests.helpers import (
    TEACHER,
    TINY,
    assert_gradients_agree,
    quick_jit,
    random_params,
    random_spectrogram,
    relative_error,
    theirs,
)

SIGMA_DATA = 0.1
TINY_BATCH = Batch(random_spectrogram(3, 256, 8), random_spectrogram(3, 256, 8, seed=1))
Z = random_spectrogram(3, 256, 8, seed=2, scale=np.sqrt(0.5))


def squared_errors(model, params, batch, draws):
    """(λ_i, Σ_{f,t} |D_i − μ_i|²), each [B]."""
    sigma, mean = model.sde.std(draws.t), model.sde.mean(batch.x0, batch.y, draws.t)
    error = model.denoise(params, mean + sigma[:, None, None] * draws.z, batch.y, draws.t) - mean
    return edm_weight(sigma, SIGMA_DATA), jnp.sum(jnp.square(jnp.abs(error)), axis=(1, 2))


def authors_loss(model, params, batch, draws):
    """Their λ [B, 1, 1, 1] · error [B] broadcasts: each item gets the sum of the batch's weights / B."""
    weights, errors = squared_errors(model, params, batch, draws)
    return 0.5 * jnp.mean(weights) * jnp.sum(errors)


@pytest.fixture(scope="module")
def tiny():
    """(t [3]) -> (score_loss, λ, errors, the authors' value) of one tiny network."""

    @quick_jit
    def run(params, batch, draws):
        loss, _ = score_loss(params, batch, draws, model=TINY)
        errors = squared_errors(TINY, params, batch, draws)
        return loss, *errors, authors_loss(TINY, params, batch, draws)

    return lambda t: run(random_params(TINY), TINY_BATCH, ScoreDraws(t, Z))


def test_loss_and_gradients_agree_with_the_authors_up_to_their_slip(goldens, networks):
    golden = goldens("teacher_objectives")
    t = golden["precond_edm/u"] * np.float32(1 - 0.03) + np.float32(0.03)
    batch = Batch(golden["x"][:, 0], golden["y"][:, 0])
    draws = ScoreDraws(t, golden["precond_edm/z"][:, 0])
    step = quick_jit(jax.value_and_grad(lambda *arguments: authors_loss(TEACHER, *arguments)))
    loss, gradients = step(networks["teacher"], batch, draws)
    assert relative_error(loss, golden["precond_edm/loss"]) < 1e-4
    assert_gradients_agree(gradients, theirs(golden, "precond_edm/grad/"))


def test_each_item_has_its_own_weight(tiny):
    loss, weights, errors, _ = tiny(jnp.array([0.9, 0.3, 0.05]))
    assert weights.max() > 5 * weights.min()
    assert relative_error(loss, np.mean(0.5 * weights * errors)) < 1e-5


def test_at_equal_times_the_authors_value_is_ours_times_the_batch_size(tiny):
    loss, _, _, authors = tiny(jnp.full(3, 0.4))
    assert relative_error(3 * loss, authors) < 1e-5


def test_at_different_times_it_is_not(tiny):
    loss, _, _, authors = tiny(jnp.array([0.9, 0.3, 0.05]))
    assert relative_error(3 * loss, authors) > 0.1


def test_the_weight_is_karras_weight():
    sigma = np.float32([0.02, 0.1, 0.5])
    expected = (sigma**2 + 0.1**2) / (sigma * 0.1) ** 2
    np.testing.assert_allclose(edm_weight(sigma, SIGMA_DATA), expected, rtol=1e-5)


def test_draws_have_their_distributions():
    t, z = draw(jax.random.key(0), (4000, 4, 4), TEACHER)
    assert t.min() >= 0.03
    assert t.max() <= 1
    assert np.mean(t) == pytest.approx(0.515, abs=0.02)
    assert z.shape == (4000, 4, 4)
    assert np.mean(np.abs(z) ** 2) == pytest.approx(1, abs=0.02)


def test_draws_are_a_function_of_their_key():
    first, again, other = (draw(jax.random.key(seed), (2, 4, 4), TEACHER) for seed in (0, 0, 1))
    jax.tree.map(np.testing.assert_array_equal, first, again)
    assert not np.array_equal(first.z, other.z)
