"""Configuration of a training run."""

import dataclasses
import re
from typing import Literal

from rosecd_jax.config import check_fields, renamed
from rosecd_jax.data.loader import LoaderConfig
from rosecd_jax.diffusion.sde import SBVE
from rosecd_jax.losses.consistency_training import ConsistencyTrainingConfig
from rosecd_jax.losses.distillation import BRIDGE_SOLVERS, DistillationConfig
from rosecd_jax.losses.pesq import LEAST_SAMPLES, SAMPLE_RATE
from rosecd_jax.losses.teacher import DataPredictionConfig, DenoiserConfig
from rosecd_jax.models.score_model import ModelConfig

Objective = Literal["score", "score-matching", "data-prediction", "distillation", "consistency-training"]
SEEDS = {"seed": 2**32 - 1}  # JAX's keys repeat above it
OF_STUDENTS = ("distillation", "consistency-training")


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """Adam and the moving average of the weights.

    Attributes:
      learning_rate: learning rate of Adam.
      warmup_steps: updates over which the learning rate rises from zero.
      decay_steps: update at which the learning rate reaches zero by cosine decay; 0: it stays constant.
      gradient_clip: maximum global norm of a gradient; 0 for no clipping.
      ema_decay: decay of the moving average; at update k, min(ema_decay, (1 + k) / (10 + k)) is used.
      accumulate: batches whose gradients are averaged into one update.
      skips_in_a_row: steps whose loss, gradient or new weights are not finite are skipped; the run stops
        after this many in a row.
    """

    learning_rate: float = 1e-4
    warmup_steps: int = 0
    decay_steps: int = 0
    gradient_clip: float = 0.0
    ema_decay: float = 0.999
    accumulate: int = 1
    skips_in_a_row: int = 10

    def __post_init__(self) -> None:
        names = "learning_rate", "warmup_steps", "decay_steps", "gradient_clip", "ema_decay"
        least = dict.fromkeys(names, 0) | {"accumulate": 1, "skips_in_a_row": 1}
        check_fields(self, "optimizer.", least=least)
        if self.ema_decay >= 1:
            raise ValueError(f"optimizer.ema_decay is {self.ema_decay}, it has to be from 0 to below 1")
        if 0 < self.decay_steps <= self.warmup_steps:
            raise ValueError(
                f"optimizer.decay_steps is {self.decay_steps}, which counts the warm-up: set it to more than "
                f"optimizer.warmup_steps, {self.warmup_steps}, or to 0"
            )


@dataclasses.dataclass(frozen=True)
class ValidationConfig:
    """Validation during training.

    Attributes:
      every: updates from one validation to the next; 0: no validation.
      split: name of the split.
      files: number of files that are enhanced and scored, evenly spread over the split.
      examples: number of these that are logged as sound and image.
      workers: processes that compute scores during training.
    """

    every: int = 1_000
    split: str = "valid"
    files: int = 20
    examples: int = 3
    workers: int = 2

    def __post_init__(self) -> None:
        check_fields(self, "validation.", least={"every": 0, "files": 1, "examples": 0, "workers": 1})


@dataclasses.dataclass(frozen=True)
class CheckpointConfig:
    """Steps that are written, and those of them that are kept.

    A step is written every `every` updates, at each validation, at the end, and when the run is stopped.

    Attributes:
      every: updates from one checkpoint to the next.
      keep_last: number of latest steps to keep.
      keep_best: number of best steps to keep by validation PESQ, and as many by SI-SDR.
      keep_every: multiples of this step are kept, too; 0: none.
    """

    every: int = 1_000
    keep_last: int = 1
    keep_best: int = 2
    keep_every: int = 0

    def __post_init__(self) -> None:
        least = {"every": 1, "keep_last": 1, "keep_best": 0, "keep_every": 0}
        check_fields(self, "checkpoints.", least=least)


OptimiserConfig = OptimizerConfig  # former name


@renamed(optimiser="optimizer")
@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """A training run, as defined by the files in configs/.

    Attributes:
      objective: for teachers "score" (a denoiser of the process's mean), "score-matching", or for a bridge
        "data-prediction"; for students "distillation" from `teacher`, or without one
        "consistency-training".
      model: the trained model; `network.dtype` and `network.remat` set precision and rematerialization.
      teacher: path of the teacher's checkpoint, of this package or a `.ckpt` file of the authors. Without
        `init_from`, training starts from its raw weights.
      init_from: path of a checkpoint with the same front end and network, of this package or the authors,
        whose weights a new run starts from; `init_weights`: averaged or raw.
      denoiser, data_prediction, distillation, consistency_training: constants of the objective of that name
        (denoiser: of "score"); the others are not used.
      data: crops and batches.
      optimizer: Adam and moving average.
      sharding: sharding of weights, moving average and optimizer state: all of them on every device
        ("replicated"), or a share per device ("fsdp"), for models larger than a device's memory.
      validation, checkpoints: intervals and settings.
      steps: total number of updates.
      log_every: updates between log lines.
      profile: "START:STOP": a profile of the steps from START up to, but not including, STOP is written to
        `profile` in the working directory; "": none. Steps are counted from 1, as in the log.
      peak_tflops: peak of one device in TFLOP/s, from which the log computes a percentage; 0: that of dense
        bfloat16 matrix products, for a device in the table of `training.operations`.
      seed: seed of weights, data order, crops and draws.
      resume_override: resume even if the run in the working directory began with another config.
      wandb_project: Weights & Biases project that also gets the curves (needs the package wandb).
    """

    objective: Objective = "score"
    model: ModelConfig = ModelConfig()
    teacher: str = ""
    init_from: str = ""
    init_weights: Literal["ema", "raw"] = "ema"
    denoiser: DenoiserConfig = DenoiserConfig()
    data_prediction: DataPredictionConfig = DataPredictionConfig()
    distillation: DistillationConfig = DistillationConfig()
    consistency_training: ConsistencyTrainingConfig = ConsistencyTrainingConfig()
    data: LoaderConfig = LoaderConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    sharding: Literal["replicated", "fsdp"] = "replicated"
    validation: ValidationConfig = ValidationConfig()
    checkpoints: CheckpointConfig = CheckpointConfig()
    steps: int = 100_000
    log_every: int = 100
    profile: str = ""
    peak_tflops: float = 0.0
    seed: int = 0
    resume_override: bool = False
    wandb_project: str = ""

    def __post_init__(self) -> None:
        check_fields(self, least={"steps": 1, "log_every": 1, "peak_tflops": 0, "seed": 0}, most=SEEDS)
        if self.profiled and self.profiled.start > self.steps:
            raise ValueError(f"profile is {self.profile!r}, it has to start by the last step, {self.steps}")
        decay_steps = self.optimizer.decay_steps
        if 0 < decay_steps < self.steps:
            raise ValueError(
                f"steps is {self.steps}, but optimizer.decay_steps is {decay_steps}, and from there on the "
                f"learning rate is 0: set optimizer.decay_steps={self.steps}, or fewer steps"
            )
        if self.objective == "distillation" and not self.teacher:
            raise ValueError("distillation needs a teacher: --config.teacher=CHECKPOINT")
        role = "student" if self.objective in OF_STUDENTS else "teacher"
        if self.model.role != role:
            raise ValueError(f"objective {self.objective!r} trains a {role}: set model.role={role!r}")
        if self.teacher and self.objective not in OF_STUDENTS:
            raise ValueError(
                f"objective {self.objective!r} doesn't use the teacher {self.teacher}: leave it out, or "
                "set init_from to start from its weights"
            )
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
        front = self.model.front_end
        name = self.objective.replace("-", "_")
        if getattr(getattr(self, name, None), "pesq_weight", 0.0):
            if front.sample_rate != SAMPLE_RATE:
                raise ValueError(
                    f"the PESQ loss is for 16 kHz, the model works at {front.sample_rate}: set "
                    f"{name}.pesq_weight=0"
                )
            if front.samples(self.data.frames) < LEAST_SAMPLES:
                raise ValueError(
                    f"data.frames is {self.data.frames}, the PESQ loss needs at least "
                    f"{1 - (-LEAST_SAMPLES // front.hop)}: set more, or {name}.pesq_weight=0"
                )
        stride = self.model.stride
        if self.data.frames % stride:
            raise ValueError(f"data.frames is {self.data.frames}, the network needs a multiple of {stride}")

    @property
    def profiled(self) -> range:
        """The steps to profile; empty without `profile`.

        Raises:
          ValueError: if `profile` is not "START:STOP".
        """
        if not self.profile:
            return range(0)
        words = re.fullmatch(r"(\d+):(\d+)", self.profile, re.ASCII)
        start, stop = map(int, words.groups()) if words else (0, 0)
        if not 1 <= start < stop:
            raise ValueError(
                f"profile is {self.profile!r}, it has to be START:STOP, two whole numbers with "
                "1 <= START < STOP; steps count from 1, and STOP itself is not profiled"
            )
        return range(start, stop)
