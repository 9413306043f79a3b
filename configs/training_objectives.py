"""Training objectives that arXiv 2409.10753 (Richter et al.) compares, on VoiceBank-DEMAND.

    python train.py --config=configs/training_objectives.py:denoiser --workdir=runs/denoiser \
        --config.data.path=VOICEBANK

| variant | process | output of the network | loss |
|---|---|---|---|
| score-matching | OUVE | the score, its output divided by σ | ½ Σ |σ s + z|² |
| denoiser | OUVE | the mean μ_t | ½ Σ |D − μ_t|² |
| preconditioned | OUVE | the mean μ_t, EDM scalings | ½ Σ λ |D − μ_t|², EDM λ; ROSE-CD's teacher |
| bridge | Schrödinger bridge | the clean speech | spectrum and 1e-3 L1 of the wave |
| bridge-pesq | Schrödinger bridge | the clean speech | the same and 5e-4 PESQ |

All networks are `ncsnpp_v2`. Batch 8 is the default of the authors' code, which draws a bridge's training
times above 0.03, ours above the process's t_eps, 1e-4.

The authors report for the test set (https://sp-uhh.github.io/gen-se/), with the paper's names of models:

| model | process | PESQ | ESTOI | SI-SDR |
|---|---|---|---|---|
| M1, M2 | OUVE | 2.84, 2.90 | 0.86, 0.86 | 17.7, 18.0 dB |
| M3 (preconditioned, according to their code) | OUVE | 2.77 | 0.86 | 17.8 dB |
| M5 | Schrödinger bridge | 2.91 | 0.88 | 19.4 dB |
| M6, M7, M8 | Schrödinger bridge | 3.70, 3.50, 3.44 | 0.86, 0.87, 0.87 | 8.3, 14.1, 15.3 dB |

Their page and code don't specify which of M1 and M2 is trained by score matching and which as a denoiser, nor
the PESQ weights of M6 to M8. No run of these configs has been finished with this code yet.
"""

from ml_collections import ConfigDict

from rosecd_jax.config import to_dict
from rosecd_jax.data.loader import LoaderConfig
from rosecd_jax.diffusion import SBVE, Preconditioning
from rosecd_jax.losses import DataPredictionConfig, DenoiserConfig
from rosecd_jax.models import ModelConfig
from rosecd_jax.training.config import CheckpointConfig, OptimizerConfig, TrainConfig

PLAIN = Preconditioning(c_in="1", c_out="1", c_skip="0")
SCORE = Preconditioning(c_in="1", c_out="1", c_skip="0", network_scaling="1/sigma", output="score")
BRIDGE = ModelConfig(sde=SBVE(), preconditioning=PLAIN)
VARIANTS = {
    "score-matching": {"objective": "score-matching", "model": ModelConfig(preconditioning=SCORE)},
    "denoiser": {
        "objective": "score",
        "model": ModelConfig(preconditioning=PLAIN),
        "denoiser": DenoiserConfig(weighting="1"),
    },
    "preconditioned": {"objective": "score", "model": ModelConfig()},
    "bridge": {
        "objective": "data-prediction",
        "model": BRIDGE,
        "data_prediction": DataPredictionConfig(pesq_weight=0.0),
    },
    "bridge-pesq": {"objective": "data-prediction", "model": BRIDGE},
}


def get_config(variant: str = "bridge-pesq") -> ConfigDict:
    """Return the config of a variant in the table."""
    if variant not in VARIANTS:
        raise ValueError(f"variant {variant!r}: expected one of {', '.join(VARIANTS)}")
    config = TrainConfig(
        **VARIANTS[variant],
        data=LoaderConfig(frames=256, batch_size=8, threads=8),
        optimizer=OptimizerConfig(learning_rate=1e-4, ema_decay=0.999),
        checkpoints=CheckpointConfig(keep_every=10_000),
        steps=100_000,
    )
    return ConfigDict(to_dict(config))
