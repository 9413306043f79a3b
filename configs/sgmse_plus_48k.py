"""SGMSE+ at 48 kHz (Richter et al. 2024, "EARS", arXiv 2406.06185), by score matching.

    python train.py --config=configs/sgmse_plus_48k.py --workdir=runs/ears --config.data.path=EARS

One recipe for enhancement (EARS-WHAM) and dereverberation (EARS-Reverb): a network without pyramids on 768
bins, with another front end and process. The corpus holds train/clean and train/noisy: 48 kHz mono files,
paired by name. Batch 8 is the default of the authors' code.

The authors report for the test sets (https://sp-uhh.github.io/ears_dataset/):

| | POLQA | PESQ | ESTOI | SI-SDR |
|---|---|---|---|---|
| EARS-WHAM | 3.40 | 2.50 | 0.73 | 16.8 dB |
| EARS-Reverb | 3.61 | 3.03 | 0.85 | 5.8 dB |

No run of this config has been finished with this code yet.
"""

from ml_collections import ConfigDict

from rosecd_jax.audio import FrontEnd
from rosecd_jax.config import to_dict
from rosecd_jax.data.loader import LoaderConfig
from rosecd_jax.diffusion import OUVE, Preconditioning
from rosecd_jax.models import ModelConfig
from rosecd_jax.models.ncsnpp import NCSNPP_48K
from rosecd_jax.training.config import CheckpointConfig, OptimizerConfig, TrainConfig


def get_config() -> ConfigDict:
    config = TrainConfig(
        objective="score-matching",
        model=ModelConfig(
            front_end=FrontEnd(sample_rate=48_000, n_fft=1534, hop=384, exponent=0.667, factor=0.065),
            sde=OUVE(gamma=2.0, sigma_min=0.1, sigma_max=1.0),
            preconditioning=Preconditioning(c_in="1", c_out="-1", c_skip="0", output="score"),
            network=NCSNPP_48K,
        ),
        data=LoaderConfig(frames=256, batch_size=8, threads=8),
        optimizer=OptimizerConfig(learning_rate=1e-4, ema_decay=0.999),
        checkpoints=CheckpointConfig(keep_every=10_000),
        steps=100_000,
    )
    return ConfigDict(to_dict(config))
