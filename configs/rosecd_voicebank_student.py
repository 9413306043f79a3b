"""ROSE-CD's one-step student on VoiceBank-DEMAND, distilled from the teacher of rosecd_voicebank_teacher.py.

    python train.py --config=configs/rosecd_voicebank_student.py --workdir=runs/student \
        --config.data.path=VOICEBANK --config.teacher=runs/teacher

The recipe is the paper's (arXiv 2507.05688): SI-SDR weight 5e-5, batch 14 accumulated twice, and a PESQ
weight of 5e-4 in the balanced setting. With configs/rosecd_voicebank_student.py:high-pesq it is 1e-3. The
paper reports PESQ 3.47 on the test set with one step in the balanced setting and 3.99 in the other (Table 1
on https://liangxu123.github.io/rosecd/: PESQ 3.49, ESTOI 0.87, SI-SDR 17.8 dB; with the PESQ loss alone
3.99, 0.83, 0.4 dB). No run of this config has been finished with this code yet.
"""

from ml_collections import ConfigDict

from rosecd_jax.config import to_dict
from rosecd_jax.data.loader import LoaderConfig
from rosecd_jax.diffusion import Preconditioning
from rosecd_jax.losses import DistillationConfig
from rosecd_jax.models import ModelConfig
from rosecd_jax.training.config import CheckpointConfig, OptimizerConfig, TrainConfig

PESQ_WEIGHTS = {"balanced": 5e-4, "high-pesq": 1e-3}


def get_config(setting: str = "balanced") -> ConfigDict:
    """Return the config of a setting, "balanced" or "high-pesq"."""
    if setting not in PESQ_WEIGHTS:
        raise ValueError(f"setting {setting!r}: expected one of {', '.join(PESQ_WEIGHTS)}")
    config = TrainConfig(
        objective="distillation",
        teacher="runs/teacher",
        model=ModelConfig(role="student", preconditioning=Preconditioning(c_in="1")),
        distillation=DistillationConfig(pesq_weight=PESQ_WEIGHTS[setting], si_sdr_weight=5e-5),
        data=LoaderConfig(frames=256, batch_size=14, threads=8),
        optimizer=OptimizerConfig(learning_rate=1e-4, ema_decay=0.999, accumulate=2),
        checkpoints=CheckpointConfig(keep_every=10_000),
        steps=100_000,
    )
    return ConfigDict(to_dict(config))
