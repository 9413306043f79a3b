"""Configuration of fine-tuning on the user's own speech and noise."""

from pathlib import Path

import flax.linen as nn

from rosecd_jax.conversion.lightning import open_any_checkpoint
from rosecd_jax.data.loader import LoaderConfig
from rosecd_jax.diffusion.sde import SBVE
from rosecd_jax.losses.consistency_training import ConsistencyTrainingConfig
from rosecd_jax.losses.pesq import SAMPLE_RATE
from rosecd_jax.losses.teacher import DataPredictionConfig
from rosecd_jax.models.checkpoint import model_of
from rosecd_jax.models.score_model import ModelConfig
from rosecd_jax.training.config import (
    CheckpointConfig,
    Objective,
    OptimizerConfig,
    TrainConfig,
    ValidationConfig,
)

__all__ = ["finetune_config", "model_config", "objective_of"]

SECONDS = 2.0  # length of a crop, rounded to the network's stride
PESQ_WEIGHT, SI_SDR_WEIGHT, SI_SDR_LIMIT = 4e-3, 8e-4, 20.0


def model_config(checkpoint: str, network: nn.Module | None = None) -> ModelConfig:
    """Read a checkpoint's model config, without its weights.

    Args:
      checkpoint: a checkpoint of this package or of the authors.
      network: the Flax module of a model with a custom network.

    Raises:
      CheckpointError: if the checkpoint is missing, or needs another `network`.
      TorchFileError: if a file is not a checkpoint of the authors.
    """
    return model_of(Path(checkpoint), open_any_checkpoint(checkpoint).config, network).config


def objective_of(model: ModelConfig) -> Objective:
    """Return the objective for fine-tuning a model, one that needs no teacher."""
    if model.role == "student":
        return "consistency-training"
    if isinstance(model.sde, SBVE):
        return "data-prediction"
    return "score-matching" if model.preconditioning.output == "score" else "score"


def finetune_config(
    checkpoint: str,
    model: ModelConfig,
    *,
    speech: str,
    noise: str,
    rir: str = "",
    steps: int = 500,
    batch_size: int = 4,
    learning_rate: float = 2e-4,
    files: int = 20,
    seed: int = 0,
) -> TrainConfig:
    """Return the config of a run that starts from a model's EMA weights and mixes its data on the fly.

    A student is trained at t = 1, where it is used, to estimate clean speech directly. The learning rate
    rises over a twentieth of the steps and falls to zero along a cosine. A twentieth of the recordings is
    held back; `files` mixes of these are scored before and after.

    Args:
      checkpoint: source of the initial weights.
      model: the checkpoint's config.
      speech, noise, rir: folders, as in `LoaderConfig`.

    Raises:
      ValueError: if a number is out of range.
    """
    front, stride = model.front_end, model.stride
    frames = max(1, round(SECONDS * front.sample_rate / front.hop / stride)) * stride
    pesq_weight = PESQ_WEIGHT if front.sample_rate == SAMPLE_RATE else 0.0
    return TrainConfig(
        objective=objective_of(model),
        model=model,
        init_from=checkpoint,
        consistency_training=ConsistencyTrainingConfig(
            steps=1, pesq_weight=pesq_weight, si_sdr_weight=SI_SDR_WEIGHT, si_sdr_limit=SI_SDR_LIMIT
        ),
        data_prediction=DataPredictionConfig(pesq_weight=pesq_weight),
        data=LoaderConfig(speech=speech, noise=noise, rir=rir, frames=frames, batch_size=batch_size),
        optimizer=OptimizerConfig(
            learning_rate=learning_rate, warmup_steps=steps // 20, decay_steps=steps, ema_decay=0.99
        ),
        validation=ValidationConfig(every=steps, files=files),
        checkpoints=CheckpointConfig(every=max(1, min(200, steps))),
        steps=steps,
        log_every=max(1, steps // 20),
        seed=seed,
    )
