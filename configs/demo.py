"""The demonstration: a small teacher and the student distilled from it, on the embedded corpus.

It doesn't reproduce a published result, but runs every part of the method in minutes on two CPU cores.

    rosecd prepare synthetic demo/corpus --valid-files 8 --test-files 12 --utterance-seconds 2 2
    python train.py --config=configs/demo.py:teacher --workdir=demo/teacher --config.data.path=demo/corpus
    python train.py --config=configs/demo.py:student --workdir=demo/student --config.data.path=demo/corpus \
        --config.teacher=demo/teacher

`make demo` runs these commands, then enhances the test split with both models and scores it, in five to eight
minutes; completed parts of `demo/` are kept.

A few hundred updates can't teach a network of 215,000 weights a different task at every t, as the paper's
process requires: to ignore the noise at t = 1, but to keep x_t at the other end. Here the process approaches
y fast (γ = 5) and adds little noise, so that the task is the same at most times, and a student's starting
point is close to noisy speech. The student's trajectory has 3 times instead of 30, its moving average is
short, its SI-SDR weight large, and its learning rate high and decaying; it scales its input like its teacher,
so that both are equal at first.
"""

from ml_collections import ConfigDict

from rosecd_jax.config import to_dict
from rosecd_jax.diffusion import OUVE
from rosecd_jax.losses import DistillationConfig
from rosecd_jax.models import ModelConfig, NCSNppConfig
from rosecd_jax.training.config import LoaderConfig, OptimizerConfig, TrainConfig, ValidationConfig

NETWORK = NCSNppConfig(channels=8, multipliers=(1, 2, 2, 4), blocks=1)
PROCESS = OUVE(gamma=5.0, sigma_min=0.003, sigma_max=0.03)


def get_config(stage: str = "teacher") -> ConfigDict:
    """Return the config of a stage, "teacher" or "student"."""
    teacher = TrainConfig(
        objective="score",
        model=ModelConfig(role="teacher", sde=PROCESS, network=NETWORK),
        data=LoaderConfig(frames=64, batch_size=4),
        optimizer=OptimizerConfig(learning_rate=4e-3, warmup_steps=20, decay_steps=100, ema_decay=0.99),
        steps=100,
        log_every=20,
        validation=ValidationConfig(every=0),
    )
    if stage == "teacher":
        return ConfigDict(to_dict(teacher))
    if stage != "student":
        raise ValueError(f"stage {stage!r}: expected teacher or student")
    student = TrainConfig(
        objective="distillation",
        teacher="demo/teacher",
        model=ModelConfig(role="student", sde=PROCESS, network=NETWORK),
        distillation=DistillationConfig(steps=3, pesq_weight=5e-4, si_sdr_weight=1e-3),
        data=teacher.data,
        optimizer=OptimizerConfig(learning_rate=4e-3, warmup_steps=20, decay_steps=300, ema_decay=0.95),
        steps=300,
        log_every=50,
        validation=ValidationConfig(every=150, files=8),
    )
    return ConfigDict(to_dict(student))
