"""rosecd_jax.models.score_model: denoiser and score of the authors' teacher and student."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rosecd_jax.audio import FrontEnd
from rosecd_jax.diffusion import Preconditioning
from rosecd_jax.models import ModelConfig, NCSNppConfig, ScoreModel
from tests.fidelity import NETWORK
from tests.goldens.packing import golden
from tests.helpers import TINY, quick_jit, random_params, random_spectrogram, relative_error


@pytest.mark.fidelity
@pytest.mark.parametrize("role", ["teacher", "student"])
def test_denoiser_and_score_agree_with_the_authors(agree, role, networks, speech, request):
    arrays, program = golden("network"), request.getfixturevalue(f"{role}_program")
    result = program(networks[role], arrays["x_t"], speech.y[1:], arrays["t"])
    agree(f"ncsnpp_v2: denoised_{role}", result["denoise"], arrays[f"denoised_{role}"], NETWORK)
    agree(f"ncsnpp_v2: score_{role}", result["score"], arrays[f"score_{role}"], NETWORK)


X, Y, T = random_spectrogram(2, 256, 8), random_spectrogram(2, 256, 8, seed=1), np.float32([0.9, 0.1])


@pytest.fixture(scope="module")
def programs():
    return {name: quick_jit(getattr(TINY, name)) for name in ("raw", "denoise", "score")}


def test_the_parts_fit_together(programs):
    """D = c_skip x + c_out F(c_in x, c_in y, t), score = (D − x) / σ², from F alone."""
    params = random_params(TINY)
    sigma, data = np.asarray(TINY.sde.std(T))[:, None, None], 0.1
    norm = np.sqrt(sigma**2 + data**2)
    raw = programs["raw"](params, X / norm, Y / norm, T)
    denoised = programs["denoise"](params, X, Y, T)
    assert relative_error(denoised, (data / norm) ** 2 * X + sigma * data / norm * raw) < 1e-5
    assert relative_error(programs["score"](params, X, Y, T), (denoised - X) / sigma**2) < 1e-4


@pytest.mark.parametrize(
    ("scalings", "gain", "skip"),
    [
        ({"c_out": "1", "c_skip": "0"}, lambda s, t: 1, 0),
        ({"c_out": "sigma", "c_skip": "1", "network_scaling": "1/t"}, lambda s, t: s / t, 1),
        ({"c_out": "-1", "c_skip": "0", "network_scaling": "1/sigma"}, lambda s, t: -1 / s, 0),
        ({"c_out": "1/sigma", "c_skip": "0"}, lambda s, t: 1 / s, 0),
    ],
)
def test_a_model_gives_the_score_or_the_denoised_speech_and_the_other_follows(scalings, gain, skip):
    raw, sigma, t = (X - 2j * Y), np.asarray(TINY.sde.std(T))[:, None, None], T[:, None, None]
    expected = skip * X + gain(sigma, t) * raw

    class Fixed(ScoreModel):
        def raw(self, params, x_t, y, t):
            return raw

    for output in ("denoised", "score"):
        model = Fixed(ModelConfig(preconditioning=Preconditioning(c_in="1", output=output, **scalings)))
        denoised, score = model.denoise(None, X, Y, T), model.score(None, X, Y, T)
        assert relative_error(denoised if output == "denoised" else score, expected) < 1e-5
        assert relative_error(denoised, X + sigma**2 * score) < 1e-5


@pytest.fixture(scope="module")
def init():
    return quick_jit(TINY.init)


def test_the_same_key_gives_the_same_parameters(init):
    first, again, other = (init(jax.random.key(seed)) for seed in (0, 0, 1))
    jax.tree.map(np.testing.assert_array_equal, first, again)
    assert not np.array_equal(first["input"]["kernel"], other["input"]["kernel"])


def test_a_fresh_network_is_float32_and_answers_almost_nothing(init, programs):
    params = init(jax.random.key(0))
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    raw = programs["raw"](params, X, Y, T)
    assert raw.dtype == jnp.complex64
    # Its last convolutions begin at almost zero; the bias of the output does not.
    assert np.abs(raw - raw[:, :1, :1]).max() < 1e-3


def test_equal_configs_make_equal_models():
    first, again = ScoreModel(ModelConfig()), ScoreModel(ModelConfig())
    assert first == again
    assert hash(first) == hash(again)
    assert first != ScoreModel(ModelConfig(preconditioning=Preconditioning(c_in="1")))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"role": "pupil"}, "model.role is 'pupil'"),
        ({"network": NCSNppConfig(bins=768)}, "the network takes 768 bins, the front end makes 256"),
        ({"front_end": FrontEnd(n_fft=1534)}, "the network takes 256 bins, the front end makes 768"),
    ],
)
def test_configs_that_contradict_themselves_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        ModelConfig(**fields)
