"""The small model that comes with the package, for 16 kHz.

    python train.py --config=configs/small.py:consistency --workdir=runs/small \
        --config.data.speech=SPEECH --config.data.noise=NOISE --config.data.rir=ROOMS

SPEECH, NOISE and ROOMS are folders of recordings, of any format and rate; docs/models.md says which ones the
shipped weights have heard. Frames are 16 ms apart instead of 8, which halves the work for a second of sound;
0.74 M weights.
"""

from ml_collections import ConfigDict

from rosecd_jax.audio.stft import FrontEnd
from rosecd_jax.data.loader import LoaderConfig
from rosecd_jax.data.mixing import MixConfig
from rosecd_jax.losses import ConsistencyTrainingConfig
from rosecd_jax.models import ModelConfig, NCSNppConfig
from rosecd_jax.models.config import to_dict
from rosecd_jax.training.config import CheckpointConfig, OptimiserConfig, TrainConfig, ValidationConfig

NETWORK = NCSNppConfig(channels=16, multipliers=(1, 1, 2, 2, 2, 2, 2), blocks=1)
FRONT_END = FrontEnd(hop=256)


def get_config(stage: str = "consistency") -> ConfigDict:
    """The run of a stage."""
    config = TrainConfig(
        objective="consistency-training",
        model=ModelConfig(role="student", front_end=FRONT_END, network=NETWORK),
        consistency_training=ConsistencyTrainingConfig(steps=2, pesq_weight=5e-3, si_sdr_weight=1e-3),
        data=LoaderConfig(
            frames=128, batch_size=4, threads=1, mix=MixConfig(without_noise=0.05, reverb=0.15)
        ),
        optimiser=OptimiserConfig(learning_rate=1e-3, warmup_steps=100, decay_steps=7_000, ema_decay=0.999),
        validation=ValidationConfig(every=1_000, files=24, workers=1),
        checkpoints=CheckpointConfig(every=500),
        steps=7_000,
    )
    return ConfigDict(to_dict(config))
