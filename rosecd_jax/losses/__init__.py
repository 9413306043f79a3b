"""Losses as pure functions of (params, batch, draws); the functions `draw_…` draw the random numbers."""

from rosecd_jax.losses.batch import Batch
from rosecd_jax.losses.consistency_training import (
    ConsistencyTrainingConfig,
    ConsistencyTrainingDraws,
    consistency_training_loss,
    draw_consistency_training,
)
from rosecd_jax.losses.distillation import (
    DistillationConfig,
    DistillationDraws,
    distillation_loss,
    draw_distillation,
)
from rosecd_jax.losses.pesq import pesq_loss
from rosecd_jax.losses.si_sdr import neg_si_sdr
from rosecd_jax.losses.teacher import (
    DataPredictionConfig,
    DenoiserConfig,
    ScoreDraws,
    data_prediction_loss,
    draw_score,
    score_loss,
    score_matching_loss,
)

__all__ = [
    "Batch",
    "ConsistencyTrainingConfig",
    "ConsistencyTrainingDraws",
    "DataPredictionConfig",
    "DenoiserConfig",
    "DistillationConfig",
    "DistillationDraws",
    "ScoreDraws",
    "consistency_training_loss",
    "data_prediction_loss",
    "distillation_loss",
    "draw_consistency_training",
    "draw_distillation",
    "draw_score",
    "neg_si_sdr",
    "pesq_loss",
    "score_loss",
    "score_matching_loss",
]
