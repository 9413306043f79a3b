"""The commands `rosecd models`, `rosecd convert` and `rosecd info`."""

import dataclasses
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rosecd_jax.cli.common import plain_errors
from rosecd_jax.pretrained import resolve

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.tree import Tree

    from rosecd_jax.models.enhancement import SamplerConfig
    from rosecd_jax.models.score_model import ModelConfig, ScoreModel


def models() -> None:
    """List the models that come with the package."""
    from rich.console import Console
    from rich.table import Table

    from rosecd_jax.models.checkpoint import open_checkpoint
    from rosecd_jax.pretrained import DEFAULT, pretrained_models

    table = Table("name", "role", "rate", "network", "directory")
    for name, path in pretrained_models().items():
        config = open_checkpoint(path).config
        network = f"{config.network.channels} channels × {config.network.multipliers}"
        rate = f"{config.front_end.sample_rate} Hz"
        table.add_row(f"{name} (default)" if name == DEFAULT else name, config.role, rate, network, str(path))
    Console().print(table)


TORCH_SUFFIXES = (".ckpt", ".pt", ".pth")


def convert(
    source: Annotated[
        Path, typer.Argument(metavar="SRC", help="The authors' .ckpt file, or a directory of this package.")
    ],
    target: Annotated[
        Path, typer.Argument(metavar="DST", help="Output: a directory, or a .ckpt file for PyTorch.")
    ],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing DST.")] = False,
    hyper_parameters: Annotated[
        str,
        typer.Option(
            metavar="FILE",
            help="Hyper-parameters of a SRC that holds none: the authors' as JSON, or a config of this "
            "package, FILE.py or FILE.py:ARGUMENT.",
        ),
    ] = "",
    steps: Annotated[int, typer.Option(help="Number of sampler steps to store; 0: unchanged.", min=0)] = 0,
    snr: Annotated[
        float,
        typer.Option(help="Signal-to-noise ratio to store for the corrector; 0: unchanged.", min=0),
    ] = 0.0,
) -> None:
    """Convert the authors' PyTorch checkpoint (a file) to this package's (a directory), or back."""
    from rosecd_jax.conversion import load_torch_checkpoint, save_torch_checkpoint
    from rosecd_jax.models.checkpoint import check_target, load_checkpoint, open_checkpoint, save_checkpoint
    from rosecd_jax.models.enhancement import SamplerConfig

    with plain_errors():
        source = resolve(source)
        if not source.exists():
            raise ValueError(f"{source}: no such checkpoint; give a .ckpt file or a checkpoint directory")
        if target.exists() and not overwrite:
            raise ValueError(f"{target} exists; choose another path or pass --overwrite")
        if source.resolve() == target.resolve():
            raise ValueError(f"{target} is the source; choose another target")
        if source.is_file():
            if target.is_file() or target.suffix in TORCH_SUFFIXES:
                raise ValueError(f"{target} names a file; a converted checkpoint is a directory")
            check_target(target, overwrite)
            model, weights = load_torch_checkpoint(source, _read_model(hyper_parameters))
            model = _sampled(model, steps, snr)
            save_checkpoint(target, model, weights, overwrite=overwrite)
        elif hyper_parameters:
            raise ValueError(
                f"{source} is a rosecd_jax checkpoint and has a config; leave --hyper-parameters out"
            )
        else:
            if target.is_dir():
                raise ValueError(f"{target} is a directory; a checkpoint for PyTorch is a file")
            names = open_checkpoint(source).weights
            loaded = {name: load_checkpoint(source, name) for name in names}  # type: ignore[arg-type]
            weights = {name: params for name, (_, params) in loaded.items()}
            model = _sampled(next(model for model, _ in loaded.values()), steps, snr)
            save_torch_checkpoint(target, model, weights, overwrite=overwrite)
    sampler = SamplerConfig().resolve(model)
    kinds = " and ".join(weights)
    typer.echo(f"{source} -> {target} ({model.config.role}; {kinds} weights; {describe_sampler(sampler)})")


def _sampled(model: "ScoreModel", steps: int, snr: float) -> "ScoreModel":
    """Replace a model's sampler settings; a setting of 0 is kept."""
    from rosecd_jax.models.score_model import ScoreModel

    config = model.config
    if (steps or snr) and config.role == "student":
        raise ValueError("--steps and --snr apply to a teacher's sampler; a student runs one step")
    sde = dataclasses.replace(config.sde, steps=steps or config.sde.steps)
    return ScoreModel(dataclasses.replace(config, sde=sde, corrector_snr=snr or config.corrector_snr))


def _read_model(file: str) -> "Mapping[str, Any] | ModelConfig | None":
    """Read the authors' hyper-parameters (JSON) or the model of a config; None without a file.

    Raises:
      ValueError: if the file can't be read as either.
    """
    from rosecd_jax.cli.train import read_config
    from rosecd_jax.conversion.hyper_parameters import refuse_misspelled

    if not file:
        return None
    if Path(file.split(":")[0]).suffix == ".py":
        return read_config(file, ()).model
    try:
        values = json.loads(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{file}: cannot be read ({error.strerror}); check the spelling") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} is not JSON ({error}); --hyper-parameters takes JSON or FILE.py") from error
    if not isinstance(values, dict):
        raise ValueError(f"{file} holds a {type(values).__name__}, expected an object of names and values")
    try:
        refuse_misspelled(values)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    return values


def describe_sampler(sampler: "SamplerConfig") -> str:
    """Describe a resolved sampler, for example "pc, 30 steps, snr 0.5"."""
    steps = f"{sampler.sampler}, {sampler.steps} step{'s' if sampler.steps > 1 else ''}"
    return f"{steps}, snr {sampler.snr:g}" if sampler.sampler == "pc" else steps


def info(
    path: Annotated[Path, typer.Argument(help="A checkpoint directory, or the authors' .ckpt file.")],
    parameters: Annotated[bool, typer.Option("--parameters", help="List every parameter's shape.")] = False,
) -> None:
    """Show a checkpoint's model, size and kinds of weights, without reading the weights."""
    import jax
    from rich.console import Console
    from rich.tree import Tree

    from rosecd_jax.conversion import open_torch_checkpoint
    from rosecd_jax.models.checkpoint import StoredModel, open_checkpoint
    from rosecd_jax.models.enhancement import SamplerConfig
    from rosecd_jax.models.score_model import ScoreModel

    with plain_errors():
        if path.is_file():
            stored, kind = open_torch_checkpoint(path), "PyTorch checkpoint of the authors' code"
        else:
            stored, kind = open_checkpoint(path), "rosecd_jax checkpoint"
    config = stored.config
    if config.own_network and isinstance(stored, StoredModel):
        shapes = stored.shapes()
    else:
        shapes = jax.eval_shape(ScoreModel(config).init, jax.random.key(0))
    count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))
    step = "unknown" if stored.step is None else str(stored.step)
    lines = {
        "path": stored.path,
        "kind": kind,
        "role": config.role,
        "network": config.own_network or config.network,
        "parameters": f"{count:,}",
        "SDE": config.sde,
        "preconditioning": config.preconditioning,
        "front end": config.front_end,
        "sample rate": f"{config.front_end.sample_rate} Hz",
        "weights": ", ".join(sorted(stored.weights)),
        "sampler": describe_sampler(SamplerConfig().resolve(ScoreModel(config))),
        "training step": step,
    }
    for role, note in getattr(stored, "functions", {}).items():
        lines |= {role: f"{note['name']} {note['settings']}"} if role != "network" else {}
    for name, value in lines.items():
        typer.echo(f"{name + ':':<17}{value}")
    if parameters:
        tree = Tree("parameters")
        add_shapes(tree, shapes)
        Console().print(tree)


def add_shapes(branch: "Tree", shapes: Any) -> None:
    """Add the shapes of a tree of arrays to a branch of a rich tree."""
    for name, value in shapes.items():
        if isinstance(value, dict):
            add_shapes(branch.add(name), value)
        else:
            branch.add(f"{name} {value.shape}")
