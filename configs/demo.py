"""The demonstration: a small teacher and the student distilled from it, on the embedded corpus.

Reproduces no published figure; it shows every part of the method working in minutes on two CPU cores.

    rosecd prepare synthetic demo/corpus
    python train.py --config=configs/demo.py:teacher --workdir=demo/teacher --config.data.path=demo/corpus
    python train.py --config=configs/demo.py:student --workdir=demo/student --config.data.path=demo/corpus \
        --config.teacher=demo/teacher

`make demo` does this, and enhances and measures the test split with both: 16 minutes on two slow cores.
Against the paper's recipe the network is small, the learning rate high and decaying, and the SI-SDR term
heavy. A few hundred updates can't carry the clean end of the trajectory to its noisy end over the paper's
30 times: the student has 6, follows a short moving average, and scales its input as its teacher does, so
that it begins as its teacher.
"""

from ml_collections import ConfigDict

from rosecd_jax.losses import DistillationConfig
from rosecd_jax.models import ModelConfig, NCSNppConfig
from rosecd_jax.models.config import to_dict
from rosecd_jax.training.config import LoaderConfig, OptimiserConfig, TrainConfig

NETWORK = NCSNppConfig(channels=8, multipliers=(1, 2, 2, 4, 4), blocks=1)


def get_config(stage: str = "teacher") -> ConfigDict:
    """The run of a stage, "teacher" or "student"."""
    teacher = TrainConfig(
        objective="score",
        model=ModelConfig(role="teacher", network=NETWORK),
        data=LoaderConfig(frames=64, batch_size=4),
        optimiser=OptimiserConfig(learning_rate=4e-3, warmup_steps=20, decay_steps=250, ema_decay=0.99),
        steps=250,
        log_every=50,
        checkpoint_every=1000,
    )
    if stage == "teacher":
        return ConfigDict(to_dict(teacher))
    if stage != "student":
        raise ValueError(f"configs/demo.py:{stage}: the stages are teacher and student")
    student = TrainConfig(
        objective="distillation",
        teacher="demo/teacher",
        model=ModelConfig(role="student", network=NETWORK),
        distillation=DistillationConfig(steps=6, pesq_weight=5e-4, si_sdr_weight=1e-3),
        data=teacher.data,
        optimiser=OptimiserConfig(learning_rate=4e-3, warmup_steps=20, decay_steps=350, ema_decay=0.95),
        steps=350,
        log_every=50,
        checkpoint_every=1000,
    )
    return ConfigDict(to_dict(student))
