"""ROSE-CD's ablations on VoiceBank-DEMAND: the student of rosecd_voicebank_student.py with one change.

    python train.py --config=configs/rosecd_ablations.py:euler-mean --workdir=runs/euler-mean \
        --config.data.path=VOICEBANK --config.teacher=runs/teacher

| variant | the teacher's step | its noise | time-domain losses | consistency term |
|---|---|---|---|---|
| no-consistency | | | PESQ 5e-4, SI-SDR 5e-5 | no |
| no-pesq | predictor-corrector | kept | SI-SDR 5e-5 | yes |
| pc-noise, pc-mean | predictor-corrector | kept, left out | none | yes |
| euler-noise, euler-mean | Euler | kept, left out | none | yes |
| heun-noise, heun-mean | Heun | kept, left out | none | yes |
| mix | mean of Euler and Euler-Maruyama | kept | none | yes |

Table 1 of the paper (arXiv 2507.05688; also on https://liangxu123.github.io/rosecd/) reports some of them
with one step on the test set; it calls noise that is kept "RCD":

| row of table 1 | variant | PESQ | ESTOI | SI-SDR |
|---|---|---|---|---|
| Euler | euler-mean | 2.46 | 0.83 | 14.3 dB |
| Euler + RCD | euler-noise | 2.88 | 0.87 | 18.3 dB |
| Heun | heun-mean | 2.71 | 0.86 | 18.2 dB |
| Heun + RCD | heun-noise | 2.98 | 0.86 | 18.4 dB |
| Heun + RCD + SI-SDR loss | close to no-pesq | 3.00 | 0.87 | 17.3 dB |

It does not include the other variants. No run of these configs has been finished with this code yet.
"""

import dataclasses

from ml_collections import ConfigDict

from rosecd_jax.config import to_dict
from rosecd_jax.data.loader import LoaderConfig
from rosecd_jax.diffusion import Preconditioning
from rosecd_jax.losses import DistillationConfig
from rosecd_jax.models import ModelConfig
from rosecd_jax.training.config import CheckpointConfig, OptimizerConfig, TrainConfig

ALONE = DistillationConfig(pesq_weight=0.0, si_sdr_weight=0.0)
VARIANTS = {
    "no-consistency": DistillationConfig(consistency_weight=0.0),
    "no-pesq": DistillationConfig(pesq_weight=0.0),
    "pc-noise": dataclasses.replace(ALONE, solver="pc", trajectory="noise"),
    "pc-mean": dataclasses.replace(ALONE, solver="pc", trajectory="mean"),
    "euler-noise": dataclasses.replace(ALONE, solver="euler", trajectory="noise"),
    "euler-mean": dataclasses.replace(ALONE, solver="euler", trajectory="mean"),
    "heun-noise": dataclasses.replace(ALONE, solver="heun", trajectory="noise"),
    "heun-mean": dataclasses.replace(ALONE, solver="heun", trajectory="mean"),
    "mix": dataclasses.replace(ALONE, solver="mix", trajectory="noise"),
}


def get_config(variant: str = "pc-mean") -> ConfigDict:
    """Return the config of a variant in the table."""
    if variant not in VARIANTS:
        raise ValueError(f"variant {variant!r}: expected one of {', '.join(VARIANTS)}")
    config = TrainConfig(
        objective="distillation",
        teacher="runs/teacher",
        model=ModelConfig(role="student", preconditioning=Preconditioning(c_in="1")),
        distillation=VARIANTS[variant],
        data=LoaderConfig(frames=256, batch_size=14, threads=8),
        optimizer=OptimizerConfig(learning_rate=1e-4, ema_decay=0.999, accumulate=2),
        checkpoints=CheckpointConfig(keep_every=10_000),
        steps=100_000,
    )
    return ConfigDict(to_dict(config))
