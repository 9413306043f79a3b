"""Pure functions: a loss is a function of (params, batch, draws)."""

from rosecd_jax.losses.batch import Batch
from rosecd_jax.losses.consistency import DistillationConfig, distillation_loss
from rosecd_jax.losses.consistency_training import ConsistencyTrainingConfig, consistency_training_loss
from rosecd_jax.losses.pesq import pesq_loss
from rosecd_jax.losses.score import (
    DataPredictionConfig,
    DenoiserConfig,
    data_prediction_loss,
    score_loss,
    score_matching_loss,
)
from rosecd_jax.losses.si_sdr import neg_si_sdr

__all__ = [
    "Batch",
    "ConsistencyTrainingConfig",
    "DataPredictionConfig",
    "DenoiserConfig",
    "DistillationConfig",
    "consistency_training_loss",
    "data_prediction_loss",
    "distillation_loss",
    "neg_si_sdr",
    "pesq_loss",
    "score_loss",
    "score_matching_loss",
]
