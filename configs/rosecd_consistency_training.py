"""ROSE-CD's later recipe on VoiceBank-DEMAND: consistency training, a one-step model without a teacher.

    python train.py --config=configs/rosecd_consistency_training.py --workdir=runs/ct \
        --config.data.path=VOICEBANK

The authors' repository reports for one step on the test set: PESQ 3.47, ESTOI 0.87, SI-SDR 19.2 dB,
SI-SIR 29.2 dB, SI-SAR 20.0 dB. No run of this config has been finished with this code yet. With
--config.teacher=runs/teacher the model starts from that teacher's raw weights instead of random ones.
"""

from ml_collections import ConfigDict

from rosecd_jax.config import to_dict
from rosecd_jax.data.loader import LoaderConfig
from rosecd_jax.diffusion import Preconditioning
from rosecd_jax.losses import ConsistencyTrainingConfig
from rosecd_jax.models import ModelConfig
from rosecd_jax.training.config import CheckpointConfig, OptimizerConfig, TrainConfig


def get_config() -> ConfigDict:
    config = TrainConfig(
        objective="consistency-training",
        model=ModelConfig(role="student", preconditioning=Preconditioning(c_in="1")),
        consistency_training=ConsistencyTrainingConfig(pesq_weight=5e-4, si_sdr_weight=5e-5),
        data=LoaderConfig(frames=256, batch_size=14, threads=8),
        optimizer=OptimizerConfig(learning_rate=1e-4, ema_decay=0.999, accumulate=2),
        checkpoints=CheckpointConfig(keep_every=10_000),
        steps=100_000,
    )
    return ConfigDict(to_dict(config))
