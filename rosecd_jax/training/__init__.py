"""Training: state, loop, checkpoints."""

from rosecd_jax.training.config import OptimiserConfig, TrainConfig
from rosecd_jax.training.loop import train
from rosecd_jax.training.state import TrainState

__all__ = ["OptimiserConfig", "TrainConfig", "TrainState", "train"]
