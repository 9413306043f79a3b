"""rosecd_jax.losses.teacher: the teacher's objective, with and without the authors' slip."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rosecd_jax.diffusion import SBVE, Preconditioning
from rosecd_jax.losses import (
    Batch,
    DataPredictionConfig,
    DenoiserConfig,
    ScoreDraws,
    data_prediction_loss,
    draw_score,
    pesq_loss,
    score_loss,
    score_matching_loss,
)
from rosecd_jax.losses.teacher import edm_weight
from rosecd_jax.models import ModelConfig, ScoreModel
from tests import fidelity
from tests.goldens.packing import golden
from tests.helpers import (
    BRIDGE,
    NETWORK,
    TEACHER,
    TINY,
    quick_jit,
    random_params,
    random_spectrogram,
    relative_error,
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


def unscaled(**scalings):
    return ScoreModel(
        ModelConfig(network=NETWORK, preconditioning=Preconditioning(c_out="1", c_skip="0", **scalings))
    )


def match(*arguments):
    model = unscaled(c_in="1", network_scaling="1/sigma", output="score")
    return score_matching_loss(*arguments, model=model)[0]


def denoise(*arguments):
    return score_loss(*arguments, model=unscaled(), config=DenoiserConfig(weighting="1"))[0]


def precondition(*arguments):
    return authors_loss(TEACHER, *arguments)


def predict(*arguments):
    return data_prediction_loss(*arguments, model=BRIDGE)[0]


@pytest.fixture(scope="module")
def step(networks, speech):
    """The teacher's parameters, the batch and the draws of all of the authors' objectives."""
    arrays = golden("teacher_objectives")
    t = arrays["u"] * np.float32(1 - 0.03) + np.float32(0.03)
    return networks["teacher"], speech, ScoreDraws(t, arrays["z"])


@pytest.mark.fidelity
@pytest.mark.parametrize(("name", "loss"), [("score_matching", match), ("denoiser_unit", denoise)])
def test_losses_agree_with_the_authors(agree, step, name, loss):
    expected = golden("teacher_objectives")[f"{name}/loss"]
    agree(f"teacher: {name}", quick_jit(loss)(*step), expected, fidelity.NETWORK)


@pytest.mark.fidelity
@pytest.mark.parametrize(("name", "loss"), [("precond_edm", precondition), ("data_prediction", predict)])
def test_losses_and_gradients_agree_with_the_authors(agree, step, name, loss):
    """The first up to their slip."""
    value, gradients = quick_jit(jax.value_and_grad(loss))(*step)
    expected = golden("teacher_objectives")[f"{name}/loss"]
    agree(f"teacher: {name}", value, expected, fidelity.NETWORK)
    agree.gradients(f"teacher: {name}, gradient", gradients, "teacher_objectives", f"{name}/")


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


@pytest.mark.parametrize("weighting", ["edm", "1", "sigma^2"])
def test_an_item_is_weighted_as_configured(weighting):
    t = jnp.array([0.9, 0.3, 0.05])
    sigma = np.asarray(TINY.sde.std(t))
    weights = {"edm": edm_weight(sigma, SIGMA_DATA), "1": np.ones(3), "sigma^2": sigma**2}[weighting]
    config = DenoiserConfig(weighting=weighting)

    @quick_jit
    def run(params, batch, draws):
        return score_loss(params, batch, draws, model=TINY, config=config)[0], squared_errors(
            TINY, params, batch, draws
        )

    loss, (_, errors) = run(random_params(TINY), TINY_BATCH, ScoreDraws(t, Z))
    assert relative_error(loss, np.mean(0.5 * weights * errors)) < 1e-5


class Known(ScoreModel):
    """A model whose network returns params."""

    def raw(self, params, x_t, y, t):
        return params


KNOWN_SCORE = Known(ModelConfig(preconditioning=Preconditioning("1", "1", "0", output="score")))
KNOWN_BRIDGE = Known(ModelConfig(sde=SBVE(), preconditioning=Preconditioning("1", "1", "0")))


def test_score_matching_is_zero_at_the_true_score():
    t = jnp.array([0.9, 0.3, 0.05])
    true = -Z / TINY.sde.std(t)[:, None, None]
    loss, _ = score_matching_loss(true, TINY_BATCH, ScoreDraws(t, Z), model=KNOWN_SCORE)
    assert loss < 1e-6
    loss, _ = score_matching_loss(0 * true, TINY_BATCH, ScoreDraws(t, Z), model=KNOWN_SCORE)
    assert relative_error(loss, np.sum(np.abs(Z) ** 2) / 6) < 1e-5


def test_data_prediction_is_its_three_terms():
    batch = Batch(random_spectrogram(2, 256, 44), random_spectrogram(2, 256, 44, seed=1))
    draws = ScoreDraws(jnp.array([0.9, 0.3]), random_spectrogram(2, 256, 44, seed=2))
    estimate = random_spectrogram(2, 256, 44, seed=3)
    _, terms = data_prediction_loss(estimate, batch, draws, model=KNOWN_BRIDGE)
    samples = TINY.front_end.samples(44)
    waves = [TINY.front_end.synthesize(x, samples) for x in (batch.x0, estimate)]
    assert relative_error(terms["spectrum"], np.mean(np.abs(estimate - batch.x0) ** 2) / 2) < 1e-5
    assert relative_error(terms["l1"], 1e-3 * np.mean(np.abs(waves[1] - waves[0])) / 2) < 1e-5
    assert relative_error(terms["pesq"], 5e-4 * np.mean(pesq_loss(*waves))) < 1e-5
    assert relative_error(terms["loss"], terms["spectrum"] + terms["l1"] + terms["pesq"]) < 1e-6
    config = DataPredictionConfig(l1_weight=0.0, pesq_weight=0.0)
    _, alone = data_prediction_loss(estimate, batch, draws, model=KNOWN_BRIDGE, config=config)
    assert set(alone) == {"spectrum", "loss"}
    assert alone["loss"] == terms["spectrum"]


def test_data_prediction_is_zero_at_the_clean_speech():
    batch = Batch(random_spectrogram(1, 256, 44), random_spectrogram(1, 256, 44, seed=1))
    draws = ScoreDraws(jnp.array([0.5]), random_spectrogram(1, 256, 44, seed=2))
    _, terms = data_prediction_loss(jnp.asarray(batch.x0), batch, draws, model=KNOWN_BRIDGE)
    assert terms["loss"] < 1e-6


def test_draws_have_their_distributions():
    t, z = draw_score(jax.random.key(0), (4000, 4, 4), TEACHER)
    assert t.min() >= 0.03
    assert t.max() <= 1
    assert np.mean(t) == pytest.approx(0.515, abs=0.02)
    assert z.shape == (4000, 4, 4)
    assert np.mean(np.abs(z) ** 2) == pytest.approx(1, abs=0.02)


def test_draws_are_a_function_of_their_key():
    first, again, other = (draw_score(jax.random.key(seed), (2, 4, 4), TEACHER) for seed in (0, 0, 1))
    jax.tree.map(np.testing.assert_array_equal, first, again)
    assert not np.array_equal(first.z, other.z)
