"""ROSE-CD's one-step student on VoiceBank-DEMAND, distilled from the teacher of rosecd_voicebank_teacher.py.

The recipe is the paper's balanced setting (arXiv 2507.05688): PESQ weight 5e-4, SI-SDR weight 5e-5, batch 14
accumulated twice. The paper reports PESQ 3.47 on the test set with one step; with
--config.distillation.pesq_weight=1e-3 it reports 3.99. No run of this config has been finished with this code
yet, so these figures are the paper's, not ours.

    python train.py --config=configs/rosecd_voicebank_student.py --workdir=runs/student \
        --config.data.path=VOICEBANK --config.teacher=runs/teacher
"""

from ml_collections import ConfigDict

from rosecd_jax.diffusion import Preconditioning
from rosecd_jax.losses import DistillationConfig
from rosecd_jax.models import ModelConfig
from rosecd_jax.models.config import to_dict
from rosecd_jax.training.config import LoaderConfig, OptimiserConfig, TrainConfig


def get_config() -> ConfigDict:
    config = TrainConfig(
        objective="distillation",
        teacher="runs/teacher",
        model=ModelConfig(role="student", preconditioning=Preconditioning(c_in="1")),
        distillation=DistillationConfig(pesq_weight=5e-4, si_sdr_weight=5e-5),
        data=LoaderConfig(frames=256, batch_size=14, threads=8),
        optimiser=OptimiserConfig(learning_rate=1e-4, ema_decay=0.999, accumulate=2),
        steps=100_000,
    )
    return ConfigDict(to_dict(config))
