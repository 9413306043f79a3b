"""rosecd_jax.losses.consistency_training: the authors' teacher-free step, and what holds for any."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rosecd_jax.losses import (
    Batch,
    ConsistencyTrainingConfig,
    ConsistencyTrainingDraws,
    consistency_training_loss,
    draw_consistency_training,
)
from rosecd_jax.models import ModelConfig, ScoreModel
from tests.fidelity import NETWORK
from tests.goldens.packing import golden
from tests.helpers import STUDENT, quick_jit, random_spectrogram, relative_error


@pytest.mark.fidelity
def test_terms_and_gradients_agree_with_the_authors(agree, networks, speech):
    arrays = golden("consistency_training")

    @quick_jit
    def run(params, target_params, batch, draws):
        def loss(params):
            return consistency_training_loss(params, batch, draws, model=STUDENT, target_params=target_params)

        return jax.grad(loss, has_aux=True)(params)

    draws = ConsistencyTrainingDraws(arrays["index"], arrays["z"], arrays["z2"])
    gradients, terms = run(networks["student"], networks["target"], speech, draws)
    for term in ("consistency", "pesq", "si_sdr", "loss"):
        agree(f"consistency training: {term}", terms[term], arrays[term], NETWORK)
    agree.gradients("consistency training: gradient", gradients, "consistency_training", "")


# What holds for any step, with a model that needs no network.


class Linear(ScoreModel):
    def denoise(self, params, x_t, y, t):
        return params * x_t + 0.25j * y * t[:, None, None]


MODEL = Linear(ModelConfig())
BATCH = Batch(random_spectrogram(2, 256, 8), random_spectrogram(2, 256, 8, seed=1))
DRAWS = ConsistencyTrainingDraws(np.array([3, 20]), *random_spectrogram(2, 2, 256, 8, seed=2))
ONLY_CONSISTENCY = ConsistencyTrainingConfig(pesq_weight=0.0, si_sdr_weight=0.0)


def loss(params, target, config=ONLY_CONSISTENCY, draws=DRAWS):
    return consistency_training_loss(params, BATCH, draws, model=MODEL, target_params=target, config=config)[
        0
    ]


def test_the_term_compares_two_times_of_the_process_with_noises_of_their_own():
    denoised = []
    for params, n, z in ((0.7, DRAWS.n, DRAWS.z), (0.4, DRAWS.n + 1, DRAWS.z_next)):
        t = MODEL.sde.timesteps(30)[n]
        x = MODEL.sde.mean(*BATCH, t) + MODEL.sde.std(t)[:, None, None] * z
        denoised.append(MODEL.denoise(params, x, BATCH.y, t))
    expected = np.mean(np.abs(denoised[0] - denoised[1]) ** 2)
    assert relative_error(loss(jnp.float32(0.7), 0.4), expected) < 1e-5


def test_on_a_grid_of_one_point_the_clean_speech_is_the_target_and_not_in_the_input():
    config = ConsistencyTrainingConfig(steps=1, pesq_weight=0.0, si_sdr_weight=0.0)
    draws = draw_consistency_training(jax.random.key(0), BATCH.x0.shape, config)
    assert not np.any(draws.n)
    t = np.ones(2, np.float32)
    x = BATCH.y + MODEL.sde.std(t)[:, None, None] * draws.z
    expected = np.mean(np.abs(MODEL.denoise(0.7, x, BATCH.y, t) - BATCH.x0) ** 2)
    assert relative_error(loss(jnp.float32(0.7), 0.4, config, draws), expected) < 1e-5


def test_no_gradient_flows_through_the_target():
    gradients = jax.grad(loss, argnums=(0, 1))(jnp.float32(0.7), jnp.float32(0.4))
    assert gradients[0] != 0
    assert gradients[1] == 0


def test_the_weights_scale_the_term():
    uniform, doubled = (
        loss(
            jnp.float32(0.7),
            0.4,
            ConsistencyTrainingConfig(consistency_weight=w, pesq_weight=0.0, si_sdr_weight=0.0),
        )
        for w in (1.0, 2.0)
    )
    assert relative_error(doubled, 2 * uniform) < 1e-6
    snr = ConsistencyTrainingConfig(weighting="snr", pesq_weight=0.0, si_sdr_weight=0.0)
    same_time = DRAWS._replace(n=np.array([20, 20]))
    weight = float(MODEL.sde.timesteps(30)[20]) ** -2
    assert (
        relative_error(
            loss(jnp.float32(0.7), 0.4, snr, same_time),
            weight * loss(jnp.float32(0.7), 0.4, draws=same_time),
        )
        < 1e-5
    )


def test_draws_have_their_distributions():
    draws = draw_consistency_training(jax.random.key(0), (4000, 4, 4), ConsistencyTrainingConfig(steps=30))
    assert set(np.asarray(draws.n)) == set(range(29))
    for z in draws[1:]:
        assert np.mean(np.abs(z) ** 2) == pytest.approx(1, abs=0.02)
    assert abs(np.mean(draws.z * np.conj(draws.z_next))) < 0.02
