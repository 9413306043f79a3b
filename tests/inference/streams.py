"""What tests of streams share: a small student, short blocks, a model whose frames depend on each other."""

import jax.numpy as jnp
import numpy as np

from rosecd_jax.diffusion import Preconditioning
from rosecd_jax.inference.stream_step import StreamConfig
from rosecd_jax.models import ModelConfig, NCSNppConfig, ScoreModel
from rosecd_jax.models.enhancement import SamplerConfig

STUDENT = ModelConfig(
    role="student",
    preconditioning=Preconditioning(c_in="1"),
    network=NCSNppConfig(channels=4, multipliers=(1, 1), blocks=1, attention_heights=()),
)
SMALL = StreamConfig(window=16, hop=4, look_ahead=2, fade=1)
ONE_STEP = SamplerConfig().resolve(ScoreModel(STUDENT))


class Identity(ScoreModel):
    """Give back the noisy spectrogram."""

    def denoise(self, params, x_t, y, t):
        return y


class Mixing(ScoreModel):
    """Each frame depends on its neighbours, on its place in the window and on the noise."""

    def denoise(self, params, x_t, y, t):
        return 0.5 * y + 0.2 * jnp.roll(x_t, 1, axis=-1) + 0.2 * jnp.roll(y, -3, axis=-1)


def sound(*shape: int, seed: int = 0) -> np.ndarray:
    """Noise whose level comes and goes, float32 of that shape."""
    generator = np.random.default_rng(seed)
    envelope = np.abs(np.sin(np.arange(shape[-1]) / 2000)) + 0.05
    return (0.1 * envelope * generator.standard_normal(shape)).astype(np.float32)
