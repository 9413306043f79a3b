"""What a training run is made of."""

import dataclasses
from typing import Literal

from rosecd_jax.data.loader import LoaderConfig
from rosecd_jax.diffusion.sde import SBVE
from rosecd_jax.losses.consistency import BRIDGE_SOLVERS, DistillationConfig
from rosecd_jax.losses.consistency_training import ConsistencyTrainingConfig
from rosecd_jax.losses.score import DataPredictionConfig, DenoiserConfig
from rosecd_jax.models.score_model import ModelConfig

Objective = Literal["score", "score-matching", "data-prediction", "distillation", "consistency-training"]


@dataclasses.dataclass(frozen=True)
class OptimiserConfig:
    """Adam and the moving average of its weights.

    Attributes:
      learning_rate: of Adam.
      warmup_steps: updates over which the learning rate rises from zero.
      decay_steps: the learning rate then falls along a cosine to reach zero at this update; 0: it stays.
      gradient_clip: largest global norm of a gradient; 0 for no clipping.
      ema_decay: of the moving average, reached by the ramp min(ema_decay, (1 + k) / (10 + k)) at update k.
      accumulate: batches whose gradients are averaged into one update.
    """

    learning_rate: float = 1e-4
    warmup_steps: int = 0
    decay_steps: int = 0
    gradient_clip: float = 0.0
    ema_decay: float = 0.999
    accumulate: int = 1


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """A training run; the files in configs/ make these.

    Attributes:
      objective: a teacher is trained as a denoiser towards the process' mean ("score"), by "score-matching",
        or, a bridge, by "data-prediction"; a student by "distillation" from `teacher`, or without one by
        "consistency-training".
      model: what is trained.
      teacher: path of the teacher's checkpoint. The student starts from its raw weights, and so does
        consistency training where a teacher is given.
      denoiser, data_prediction, distillation, consistency_training: constants of the objective of that name
        (denoiser: of "score"); the others are not used.
      data: crops and batches.
      optimiser: Adam and moving average.
      steps: updates in all.
      log_every, checkpoint_every: in updates; there is always a checkpoint at the end.
      keep: how many of the last checkpoints stay on disk.
      seed: of weights, data order, crops and draws.
    """

    objective: Objective = "score"
    model: ModelConfig = ModelConfig()
    teacher: str = ""
    denoiser: DenoiserConfig = DenoiserConfig()
    data_prediction: DataPredictionConfig = DataPredictionConfig()
    distillation: DistillationConfig = DistillationConfig()
    consistency_training: ConsistencyTrainingConfig = ConsistencyTrainingConfig()
    data: LoaderConfig = LoaderConfig()
    optimiser: OptimiserConfig = OptimiserConfig()
    steps: int = 100_000
    log_every: int = 100
    checkpoint_every: int = 5_000
    keep: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        if self.objective == "distillation" and not self.teacher:
            raise ValueError("distillation needs a teacher: --config.teacher=CHECKPOINT")
        bridge = isinstance(self.model.sde, SBVE)
        if (self.objective == "data-prediction" and not bridge) or (
            self.objective in ("score", "score-matching") and bridge
        ):
            raise ValueError(
                f"objective {self.objective!r} doesn't go with the process {self.model.sde.kind!r}"
            )
        if self.objective == "distillation" and (self.distillation.solver in BRIDGE_SOLVERS) != bridge:
            raise ValueError(
                f"distillation.solver {self.distillation.solver!r} doesn't go with the process "
                f"{self.model.sde.kind!r}"
            )
        rate = self.model.front_end.sample_rate
        name = self.objective.replace("-", "_")
        if rate != 16_000 and getattr(getattr(self, name, None), "pesq_weight", 0.0):
            raise ValueError(
                f"the PESQ loss is for 16 kHz, the model works at {rate}: set {name}.pesq_weight=0"
            )
        stride = self.model.network.stride
        if self.data.frames % stride:
            raise ValueError(f"data.frames is {self.data.frames}, the network needs a multiple of {stride}")
