"""SGMSE+ at 16 kHz (Richter et al., arXiv 2208.05830): the first network of the family, by score matching.

    python train.py --config=configs/sgmse_plus.py --workdir=runs/sgmse_plus --config.data.path=CORPUS

The same recipe is used for enhancement (VoiceBank-DEMAND, WSJ0-CHiME3) and dereverberation (WSJ0-REVERB),
with different corpora. CORPUS holds train/clean and train/noisy: 16 kHz mono files, paired by name. The
paper's batch is 32, here 8 accumulated four times; with 8 on one GPU, the default of the authors' code, users
report PESQ 1.95. For WSJ0-REVERB their repository recommends 50 steps and an snr of 0.33: rosecd enhance
--steps 50 --snr 0.33.

On VoiceBank-DEMAND's test set the authors report PESQ 2.93, ESTOI 0.87, SI-SDR 17.3 dB, POLQA 3.95
(https://sp-uhh.github.io/gen-se/); for the other two corpora see the tables of the paper. No run of this
config has been finished with this code yet.
"""

from ml_collections import ConfigDict

from rosecd_jax.config import to_dict
from rosecd_jax.data.loader import LoaderConfig
from rosecd_jax.diffusion import Preconditioning
from rosecd_jax.models import ModelConfig
from rosecd_jax.models.ncsnpp import NCSNPP
from rosecd_jax.training.config import CheckpointConfig, OptimizerConfig, TrainConfig


def get_config() -> ConfigDict:
    config = TrainConfig(
        objective="score-matching",
        model=ModelConfig(
            preconditioning=Preconditioning(c_in="1", c_out="-1", c_skip="0", output="score"),
            network=NCSNPP,
        ),
        data=LoaderConfig(frames=256, batch_size=8, threads=8),
        optimizer=OptimizerConfig(learning_rate=1e-4, ema_decay=0.999, accumulate=4),
        checkpoints=CheckpointConfig(keep_every=10_000),
        steps=100_000,
    )
    return ConfigDict(to_dict(config))
