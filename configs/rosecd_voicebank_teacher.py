"""ROSE-CD's teacher on VoiceBank-DEMAND (16 kHz): the EDM-preconditioned denoiser of 65.6 M parameters.

The recipe is the paper's (arXiv 2507.05688): Adam 1e-4, batch 16 accumulated twice, 256 frames, moving
average 0.999. With 30 predictor-corrector steps the authors' repository reports for the test set: PESQ
2.89, ESTOI 0.86, SI-SDR 16.7 dB. No run of this config has been finished with this code yet.

    python train.py --config=configs/rosecd_voicebank_teacher.py --workdir=runs/teacher \
        --config.data.path=VOICEBANK

VOICEBANK holds train/clean and train/noisy: 16 kHz mono files, paired by name.
"""

from ml_collections import ConfigDict

from rosecd_jax.config import to_dict
from rosecd_jax.data.loader import LoaderConfig
from rosecd_jax.training.config import CheckpointConfig, OptimizerConfig, TrainConfig


def get_config() -> ConfigDict:
    config = TrainConfig(
        objective="score",
        data=LoaderConfig(frames=256, batch_size=16, threads=8),
        optimizer=OptimizerConfig(learning_rate=1e-4, ema_decay=0.999, accumulate=2),
        checkpoints=CheckpointConfig(keep_every=10_000),
        steps=100_000,
    )
    return ConfigDict(to_dict(config))
