"""rosecd export."""

from pathlib import Path
from typing import Annotated, Any

import typer

from rosecd_jax.cli.common import (
    CorrectorOption,
    DtypeOption,
    NetworkOption,
    SamplerOption,
    SnrOption,
    StepsOption,
    WeightsOption,
    load_enhancer,
    plain_errors,
)


def export(
    checkpoint: Annotated[
        Path,
        typer.Argument(metavar="CKPT", help="A model's name, a model or a run of ours, or a .ckpt file."),
    ],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to make.")],
    weights: WeightsOption = "ema",
    sampler: SamplerOption = "auto",
    steps: StepsOption = 0,
    snr: SnrOption = 0.0,
    corrector: CorrectorOption = "annealed-langevin",
    platforms: Annotated[str, typer.Option(help="Some of cpu, cuda, tpu, rocm; commas between.")] = (
        "cpu,cuda,tpu"
    ),
    dtype: DtypeOption = "",
    network: NetworkOption = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an exported model.")] = False,
) -> None:
    """A model as a folder that enhances with JAX alone: StableHLO from wave to wave, of any length.

    The sampler is part of it. OUT/load.py loads it: `from OUT.load import load; clean = load()(wave)`.
    """
    from rosecd_jax.export.program import check_platforms, check_target, export_model
    from rosecd_jax.models.enhancement import SamplerConfig

    with plain_errors():
        # What is wrong with the options shows before a large checkpoint is read.
        names = check_platforms([name.strip() for name in platforms.split(",") if name.strip()])
        check_target(target, overwrite)
        sampling: dict[str, Any] = {"sampler": sampler, "steps": steps, "snr": snr, "corrector": corrector}
        SamplerConfig(**sampling)
        loaded = load_enhancer(checkpoint, network, weights=weights, dtype=dtype or None, **sampling)
        resolved = loaded.sampler
        export_model(target, loaded.model, loaded.params, resolved, platforms=names, overwrite=overwrite)
    size = sum(file.stat().st_size for file in target.iterdir()) / 1e6
    words = f"{resolved.sampler}, {resolved.steps} step{'s' if resolved.steps > 1 else ''}"
    typer.echo(f"{checkpoint} -> {target} ({words}; {', '.join(names)}; {size:.1f} MB)")
