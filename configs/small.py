"""The packaged small model, for 16 kHz, in three stages.

    python train.py --config=configs/small.py:consistency --workdir=runs/consistency DATA
    python train.py --config=configs/small.py:teacher --workdir=runs/teacher DATA \
        --config.init_from=runs/consistency
    python train.py --config=configs/small.py:student --workdir=runs/student DATA \
        --config.teacher=runs/teacher --config.init_from=runs/consistency

DATA stands for --config.data.speech=SPEECH --config.data.noise=NOISE --config.data.rir=ROOMS: folders of
recordings, of any format and rate. `python -m benchmarks.small` runs all stages and measures the results.
No single run of this config reproduces the packaged weights; docs/models.md describes their training.

Frames are 16 ms apart instead of the papers' 8, which halves the computation per second of audio; 0.75 M
weights. The first stage is trained without a teacher, on a time grid of one point: from the prior to the
clean speech. The teacher starts from these weights and is trained at all t; the student is distilled from it.
"""

from typing import Literal

from ml_collections import ConfigDict

from rosecd_jax.audio.stft import FrontEnd
from rosecd_jax.config import to_dict
from rosecd_jax.data.loader import LoaderConfig
from rosecd_jax.data.mixing import MixConfig
from rosecd_jax.losses import ConsistencyTrainingConfig, DistillationConfig
from rosecd_jax.models import ModelConfig, NCSNppConfig
from rosecd_jax.training.config import (
    CheckpointConfig,
    Objective,
    OptimizerConfig,
    TrainConfig,
    ValidationConfig,
)

NETWORK = NCSNppConfig(channels=16, multipliers=(1, 1, 2, 2, 2, 2, 2), blocks=1)
FRONT_END = FrontEnd(hop=256)


DATA = LoaderConfig(frames=128, batch_size=4, threads=1, mix=MixConfig(snr=(-5.0, 15.0), reverb=0.1))
PESQ, SI_SDR, LIMIT = 3e-3, 4e-4, 20.0  # above the paper's weights, because there are few updates


def run(
    objective: Objective,
    role: Literal["teacher", "student"],
    steps: int,
    learning_rate: float,
    teacher: str = "",
) -> TrainConfig:
    """Return the config of a stage, with 100 updates of warm-up and cosine decay of the learning rate."""
    return TrainConfig(
        objective=objective,
        model=ModelConfig(role=role, front_end=FRONT_END, network=NETWORK),
        teacher=teacher,
        consistency_training=ConsistencyTrainingConfig(
            steps=1, pesq_weight=PESQ, si_sdr_weight=SI_SDR, si_sdr_limit=LIMIT
        ),
        distillation=DistillationConfig(pesq_weight=PESQ, si_sdr_weight=SI_SDR, si_sdr_limit=LIMIT),
        data=DATA,
        optimizer=OptimizerConfig(
            learning_rate=learning_rate, warmup_steps=100, decay_steps=steps, ema_decay=0.999
        ),
        validation=ValidationConfig(every=0 if role == "teacher" else 500, files=24, workers=1),
        checkpoints=CheckpointConfig(every=500),
        steps=steps,
    )


VARIANTS = {
    "consistency": run("consistency-training", "student", 3_000, 1e-3),
    "teacher": run("score", "teacher", 1_500, 5e-4),
    "student": run("distillation", "student", 800, 3e-4, teacher="runs/teacher"),
}


def get_config(stage: str = "consistency") -> ConfigDict:
    """Return the config of a stage: "consistency", "teacher" or "student"."""
    if stage not in VARIANTS:
        raise ValueError(f"stage {stage!r}: expected one of {', '.join(VARIANTS)}")
    return ConfigDict(to_dict(VARIANTS[stage]))
