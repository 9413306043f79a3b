"""Training: config, state, step, loop and checkpoints."""

from rosecd_jax.training.config import (
    CheckpointConfig,
    OptimiserConfig,
    OptimizerConfig,
    TrainConfig,
    ValidationConfig,
)
from rosecd_jax.training.functions import Functions, Loss
from rosecd_jax.training.loop import TrainingStopped, train
from rosecd_jax.training.state import TrainState
from rosecd_jax.training.step import TrainStep, Waves, make_loss, make_train_step

__all__ = [
    "CheckpointConfig",
    "Functions",
    "Loss",
    "OptimiserConfig",
    "OptimizerConfig",
    "TrainConfig",
    "TrainState",
    "TrainStep",
    "TrainingStopped",
    "ValidationConfig",
    "Waves",
    "make_loss",
    "make_train_step",
    "train",
]
