"""Networks, and models that combine them with a front end and a diffusion process."""

from rosecd_jax.models.ncsnpp import NCSNpp, NCSNppConfig
from rosecd_jax.models.own_network import OwnNetwork
from rosecd_jax.models.score_model import ModelConfig, ScoreModel

__all__ = ["ModelConfig", "NCSNpp", "NCSNppConfig", "OwnNetwork", "ScoreModel"]
