"""Training: state, loop, checkpoints."""

from rosecd_jax.training.config import (
    CheckpointConfig,
    OptimiserConfig,
    OptimizerConfig,
    TrainConfig,
    ValidationConfig,
)
from rosecd_jax.training.loop import TrainingStopped, train
from rosecd_jax.training.state import TrainState

__all__ = [
    "CheckpointConfig",
    "OptimiserConfig",
    "OptimizerConfig",
    "TrainConfig",
    "TrainState",
    "TrainingStopped",
    "ValidationConfig",
    "train",
]
