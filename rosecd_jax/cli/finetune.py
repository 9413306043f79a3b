"""The command `rosecd finetune`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from rosecd_jax.cli.common import NetworkOption, SeedOption, plain_errors
from rosecd_jax.cli.modules import make_network


def finetune(
    checkpoint: Annotated[
        str,
        typer.Argument(
            metavar="CKPT", help="Name of a packaged model, directory of a model or run, or .ckpt file."
        ),
    ],
    workdir: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of the run and its model.")],
    speech: Annotated[str, typer.Option(help="Folder of clean speech, or several joined by ':'.")],
    noise: Annotated[str, typer.Option(help="Folder of noise, or several joined by ':'.")],
    rir: Annotated[str, typer.Option(help="Folder of room impulse responses.")] = "",
    steps: Annotated[
        int, typer.Option(help="Number of updates; 500 took 7 minutes on two cores.", min=1)
    ] = 500,
    batch_size: Annotated[int, typer.Option(help="Crops of 2 s per update.", min=1)] = 4,
    learning_rate: Annotated[float, typer.Option(help="Maximum learning rate.", min=0.0)] = 2e-4,
    files: Annotated[int, typer.Option(help="Number of scored mixes of held-back recordings.", min=1)] = 20,
    seed: SeedOption = 0,
    network: NetworkOption = "",
) -> None:
    """Fine-tune a model on your own speech and noise, mixed on the fly.

    No pairs or config are needed. Some of the recordings are held back, and a table at the end shows the
    gain on them. OUT can then be used as a model: `rosecd enhance noisy.wav clean.wav -c OUT`. The same
    command resumes a run that was stopped or killed.
    """
    typer.echo(f"{checkpoint} -> {workdir}")  # before the imports, which take seconds
    from rosecd_jax.training.finetune import finetune_config, model_config
    from rosecd_jax.training.functions import Functions
    from rosecd_jax.training.loop import TrainingStopped, train

    with plain_errors(TrainingStopped):
        module = make_network(network) if network else None
        config = finetune_config(
            checkpoint,
            model_config(checkpoint, module),
            speech=speech,
            noise=noise,
            rir=rir,
            steps=steps,
            batch_size=batch_size,
            learning_rate=learning_rate,
            files=files,
            seed=seed,
        )
        train(config, workdir, typer.echo, Functions(network=module))
        print_gain(workdir, steps, f" --network {network}" if network else "")


def print_gain(workdir: Path, steps: int, more: str = "") -> None:
    """Print the scores of the held-back recordings before and after a completed run.

    `more` is added to the printed command that enhances with the model.
    """
    from rich.console import Console
    from rich.table import Table

    scores = json.loads((workdir / "validation.json").read_text())
    before, after = (scores.get(str(step)) for step in (0, steps))
    if not (before and after):
        return
    table = Table("held-back recordings", "before", "after", "change")
    for name, title, digits in (("pesq", "PESQ", 2), ("estoi", "ESTOI", 3), ("si_sdr", "SI-SDR, dB", 1)):
        values = before[name], after[name], after[name] - before[name]
        table.add_row(title, *(f"{v:{'+' if i == 2 else ''}.{digits}f}" for i, v in enumerate(values)))
    Console().print(table)
    typer.echo(f"rosecd enhance noisy.wav clean.wav -c {workdir}{more}")
