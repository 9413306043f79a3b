"""The networks before ncsnpp_v2: without scaling, and with a negative output."""

import dataclasses

import numpy as np
import pytest

from rosecd_jax.audio.stft import FrontEnd
from rosecd_jax.conversion import load_torch_checkpoint, save_torch_checkpoint
from rosecd_jax.conversion.hyper_parameters import SGMSE_PLUS_BRIDGE, config_from_hyper_parameters
from rosecd_jax.conversion.torch_file import read_torch_file
from rosecd_jax.diffusion.sde import SBVE
from rosecd_jax.models import ModelConfig, ScoreModel
from rosecd_jax.models.ncsnpp import NCSNPP, NCSNPP_48K
from tests.conversion.checkpoints import equal
from tests.helpers import quick_jit, random_params, random_spectrogram, relative_error


@pytest.mark.parametrize("network", [NCSNPP, NCSNPP_48K], ids=["ncsnpp", "ncsnpp_48k"])
def test_an_older_network_of_a_bridge_gives_minus_the_clean_speech(tmp_path, network):
    front = FrontEnd() if network == NCSNPP else FrontEnd(48_000, 1534, 384, 0.667, 0.065)
    small = dataclasses.replace(network, channels=4, multipliers=(1, 1), blocks=1, attention_heights=())
    config = ModelConfig(front_end=front, sde=SBVE(), preconditioning=SGMSE_PLUS_BRIDGE, network=small)
    model, params = ScoreModel(config), random_params(ScoreModel(config))
    path = save_torch_checkpoint(tmp_path / "x.ckpt", model, params)
    values = read_torch_file(path)["hyper_parameters"]
    assert (values["sde"], values["loss_type"]) == ("sbve", "data_prediction")
    found, weights = load_torch_checkpoint(path)
    assert found == model
    assert equal(weights["raw"], params)
    x_t, y = (random_spectrogram(1, front.bins, 8, seed=seed) for seed in (0, 1))
    t = np.float32([0.6])
    network_output = quick_jit(found.raw)(params, x_t, y, t)  # of what goes in unscaled
    assert relative_error(quick_jit(found.denoise)(params, x_t, y, t), -network_output) < 1e-5


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"sde": "sbve"}, "'loss_type' is missing"),
        ({"sde": "sbve", "loss_type": "score_matching"}, "is 'score_matching'; expected one of data_pre"),
        (
            {"sde": "ouve", "loss_type": "precond_denoiser"},
            "is 'precond_denoiser'; expected one of score_",
        ),
    ],
)
@pytest.mark.parametrize("backbone", ["ncsnpp", "ncsnpp_48k"])
def test_objectives_that_the_older_networks_have_not_are_refused(values, words, backbone):
    with pytest.raises(ValueError, match=words):
        config_from_hyper_parameters({"backbone": backbone} | values)
