"""What a training run is made of."""

import dataclasses
from typing import Literal

from rosecd_jax.data.loader import LoaderConfig
from rosecd_jax.losses.consistency import DistillationConfig
from rosecd_jax.models.score_model import ModelConfig


@dataclasses.dataclass(frozen=True)
class OptimiserConfig:
    """Adam and the moving average of its weights.

    Attributes:
      learning_rate: of Adam.
      warmup_steps: updates over which the learning rate rises from zero.
      gradient_clip: largest global norm of a gradient; 0 for no clipping.
      ema_decay: of the moving average, reached by the ramp min(ema_decay, (1 + k) / (10 + k)) at update k.
      accumulate: batches whose gradients are averaged into one update.
    """

    learning_rate: float = 1e-4
    warmup_steps: int = 0
    gradient_clip: float = 0.0
    ema_decay: float = 0.999
    accumulate: int = 1


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """A training run; the files in configs/ make these.

    Attributes:
      objective: "score" trains a teacher, "distillation" a student from `teacher`.
      model: what is trained.
      teacher: path of the teacher's checkpoint (distillation only). The student starts from its raw weights.
      distillation: constants of that objective.
      data: crops and batches.
      optimiser: Adam and moving average.
      steps: updates in all.
      log_every, checkpoint_every: in updates; there is always a checkpoint at the end.
      keep: how many of the last checkpoints stay on disk.
      seed: of weights, data order, crops and draws.
    """

    objective: Literal["score", "distillation"] = "score"
    model: ModelConfig = ModelConfig()
    teacher: str = ""
    distillation: DistillationConfig = DistillationConfig()
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
        stride = self.model.network.stride
        if self.data.frames % stride:
            raise ValueError(f"data.frames is {self.data.frames}, the network needs a multiple of {stride}")
