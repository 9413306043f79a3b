"""rosecd export."""

from pathlib import Path
from typing import Annotated

import typer

from rosecd_jax.cli.common import (
    CorrectorOption,
    SamplerOption,
    SnrOption,
    StepsOption,
    WeightsOption,
    plain_errors,
)


def export(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CKPT", help="A model or a run of ours, or the authors' .ckpt file.")
    ],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to make.")],
    weights: WeightsOption = "ema",
    sampler: SamplerOption = "auto",
    steps: StepsOption = 0,
    snr: SnrOption = 0.5,
    corrector: CorrectorOption = "annealed-langevin",
    platforms: Annotated[str, typer.Option(help="Some of cpu, cuda, tpu, rocm; commas between.")] = (
        "cpu,cuda,tpu"
    ),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an exported model.")] = False,
) -> None:
    """A model as a folder that enhances with JAX alone: StableHLO from wave to wave, of any length.

    The sampler is part of it. OUT/load.py loads it: `load("OUT")(wave, seed=0)`.
    """
    from rosecd_jax.conversion.checkpoint import load_any_checkpoint
    from rosecd_jax.inference.export import check_platforms, check_target, export_model
    from rosecd_jax.models.sampling import SamplerConfig

    with plain_errors():
        # What is wrong with the options shows before a large checkpoint is read.
        names = check_platforms([name.strip() for name in platforms.split(",") if name.strip()])
        check_target(target, overwrite)
        config = SamplerConfig(sampler, steps, snr, corrector)  # type: ignore[arg-type]
        model, params = load_any_checkpoint(checkpoint, weights)  # type: ignore[arg-type]
        export_model(target, model, params, config, platforms=names, overwrite=overwrite)
        resolved = config.resolve(model)
    size = sum(file.stat().st_size for file in target.iterdir()) / 1e6
    words = f"{resolved.sampler}, {resolved.steps} step{'s' if resolved.steps > 1 else ''}"
    typer.echo(f"{checkpoint} -> {target} ({words}; {', '.join(names)}; {size:.1f} MB)")
