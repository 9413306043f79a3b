"""The command `rosecd export`."""

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
        typer.Argument(
            metavar="CKPT", help="Name of a packaged model, directory of a model or run, or .ckpt file."
        ),
    ],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="Output folder.")],
    weights: WeightsOption = "ema",
    sampler: SamplerOption = "auto",
    steps: StepsOption = 0,
    snr: SnrOption = 0.0,
    corrector: CorrectorOption = "annealed-langevin",
    platforms: Annotated[
        str,
        typer.Option(metavar="LIST", help="Comma-separated platforms: cpu, cuda, tpu or rocm."),
    ] = "cpu,cuda,tpu",
    dtype: DtypeOption = None,
    network: NetworkOption = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an exported model.")] = False,
) -> None:
    """Export a model and its sampler as a StableHLO program that enhances waves of any length with JAX alone.

    OUT/load.py loads it: `from OUT.load import load; clean = load()(wave)`.
    """
    from rosecd_jax.export.program import check_platforms, check_target, export_model
    from rosecd_jax.models.enhancement import SamplerConfig

    with plain_errors():
        # Check the options before reading a large checkpoint.
        names = check_platforms([name.strip() for name in platforms.split(",") if name.strip()])
        check_target(target, overwrite)
        sampling: dict[str, Any] = {"sampler": sampler, "steps": steps, "snr": snr, "corrector": corrector}
        SamplerConfig(**sampling)
        loaded = load_enhancer(checkpoint, network, weights=weights, dtype=dtype, **sampling)
        resolved = loaded.sampler
        export_model(target, loaded.model, loaded.params, resolved, platforms=names, overwrite=overwrite)
    size = sum(file.stat().st_size for file in target.iterdir()) / 1e6
    sampler_text = f"{resolved.sampler}, {resolved.steps} step{'s' if resolved.steps > 1 else ''}"
    typer.echo(f"{checkpoint} -> {target} ({sampler_text}; {', '.join(names)}; {size:.1f} MB)")
