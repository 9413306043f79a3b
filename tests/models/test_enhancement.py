"""rosecd_jax.models.enhancement: samplers call the network as often as a config says."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from rosecd_jax.diffusion import OUVE, SBVE
from rosecd_jax.models import ModelConfig, OwnNetwork, ScoreModel
from rosecd_jax.models.enhancement import SamplerConfig, enhance_spectrogram

CALLS: list[int] = []


class Counted(nn.Module):
    """A network that records its calls."""

    @nn.compact
    def __call__(self, x, t):
        jax.debug.callback(lambda: CALLS.append(1))
        return nn.Dense(2)(x)


@pytest.mark.parametrize(
    ("sampler", "sde"),
    [
        ("consistency", OUVE()),
        ("pc", OUVE()),
        ("predictor", OUVE()),
        ("ode", OUVE()),
        ("bridge", SBVE()),
        ("bridge-sde", SBVE()),
    ],
)
@pytest.mark.parametrize("steps", [1, 3])
def test_network_calls(sampler, sde, steps):
    network = Counted()
    model = ScoreModel(ModelConfig(sde=sde, own_network=OwnNetwork.of(network)), network)
    config = SamplerConfig(sampler, steps).resolve(model)
    params, y = model.init(jax.random.key(0)), jnp.ones((1, 256, 4), jnp.complex64)
    jax.effects_barrier()
    CALLS.clear()
    enhance_spectrogram(model, config, params, y, jax.random.split(jax.random.key(1), 1)).block_until_ready()
    jax.effects_barrier()
    assert len(CALLS) == config.network_calls
