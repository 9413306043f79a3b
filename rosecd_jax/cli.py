"""The `rosecd` command. Nothing heavy is imported before a command runs."""

import ctypes
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.tree import Tree

    from rosecd_jax.evaluation.evaluate import Evaluation
    from rosecd_jax.inference.enhancer import Enhancer
    from rosecd_jax.training.config import TrainConfig

app = typer.Typer(no_args_is_help=True)
prepare_app = typer.Typer(help="Make training data.", no_args_is_help=True)
app.add_typer(prepare_app, name="prepare")

CheckpointOption = Annotated[
    Path,
    typer.Option(
        "--checkpoint", "-c", help="Model directory, training run's directory, or the authors' .ckpt file."
    ),
]
SamplerOption = Annotated[
    str,
    typer.Option(
        help="auto (by the model), consistency, pc (predictor-corrector), predictor, ode, bridge, bridge-sde."
    ),
]
CorrectorOption = Annotated[str, typer.Option(help="Of pc: annealed-langevin or langevin.")]
SnrOption = Annotated[
    float, typer.Option(help="Of the corrector, and of the noise between consistency steps.")
]
StepsOption = Annotated[int, typer.Option(help="Steps of the sampler; 0: its default (1 or 30).", min=0)]
SeedOption = Annotated[int, typer.Option(help="Of all random numbers.")]


@app.callback()
def keep_freed_memory() -> None:
    """One-step speech enhancement by consistency distillation."""
    # XLA's CPU programs allocate their buffers anew at every run, and glibc gives the system back what they
    # free: faulting the pages in again costs a sixth of a small network's training step. So let it keep them.
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:
        trim_threshold, top_pad, mmap_max, arena_max = -1, -2, -4, -8
        for option, value in ((trim_threshold, 2**31 - 1), (top_pad, 2**26), (mmap_max, 0), (arena_max, 1)):
            mallopt(option, value)


@contextmanager
def plain_errors() -> Iterator[None]:
    """Bad input ends in one line and exit code 1; what is not foreseen keeps its traceback."""
    try:
        yield
    except (ValueError, FileExistsError, ImportError) as error:
        typer.secho(f"rosecd: {error}", fg="red", err=True)
        raise typer.Exit(1) from error


@contextmanager
def progress_bar(total: int | None, what: str) -> Iterator[Any]:
    """A rich bar on stderr; yields a function (done, total, words)."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)

        def advance(done: int, total: int | None = None, words: str = what) -> None:
            bar.update(task, completed=done, total=total, description=words)

        yield advance


@app.command()
def enhance(
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="An audio file, or a folder of them.")],
    target: Annotated[
        Path, typer.Argument(metavar="OUTPUT", help="A file for a file, a folder for a folder.")
    ],
    checkpoint: CheckpointOption,
    sampler: SamplerOption = "auto",
    steps: StepsOption = 0,
    snr: SnrOption = 0.5,
    corrector: CorrectorOption = "annealed-langevin",
    seed: SeedOption = 0,
) -> None:
    """Remove noise from a file, or from every file of a folder.

    Rate, length and channels stay as they are. A file that can't be read is reported at the end, with exit
    code 1; the others are enhanced all the same.
    """
    from rosecd_jax.audio import io

    with plain_errors():
        files = io.find(source)
        if source.is_file() and (target.is_dir() or not target.suffix):
            target = target / source.name
        if source.is_dir() and target.is_file():
            raise ValueError(f"{target} is a file; a folder's output needs a folder")
        if source.resolve() == target.resolve():
            raise ValueError(f"{target} is the input itself; choose another output")
        enhancer = load_enhancer(checkpoint, sampler=sampler, steps=steps, snr=snr, corrector=corrector)
        failed = []
        with progress_bar(len(files), "enhancing") as advance:
            if source.is_file():
                enhancer.enhance_file(source, target, seed=seed)
            else:
                for done, report in enumerate(enhancer.enhance_folder(source, target, seed=seed), 1):
                    advance(done)
                    failed += [report.error] if report.error else []
    typer.echo(f"{len(files) - len(failed)} of {len(files)} files enhanced into {target}")
    for error in failed:
        typer.secho(f"rosecd: {error}", fg="red", err=True)
    if failed:
        raise typer.Exit(1)


def load_enhancer(checkpoint: Path, **sampling: Any) -> "Enhancer":
    """A checkpoint, ready to enhance as the fields of SamplerConfig say."""
    from rosecd_jax.inference.enhancer import Enhancer

    return Enhancer.from_checkpoint(checkpoint, **sampling)


@app.command()
def evaluate(
    data: Annotated[Path, typer.Argument(help="A folder that holds clean/ and noisy/.")],
    checkpoint: Annotated[
        list[Path] | None, typer.Option("--checkpoint", "-c", help="A model to measure; may be repeated.")
    ] = None,
    enhanced: Annotated[
        list[Path] | None, typer.Option(help="A folder of files already enhanced; may be repeated.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="For enhanced files and per-file CSV.")] = None,
    sampler: SamplerOption = "auto",
    steps: StepsOption = 0,
    snr: SnrOption = 0.5,
    corrector: CorrectorOption = "annealed-langevin",
    seed: SeedOption = 0,
) -> None:
    """Measure models, or folders of enhanced files, on paired recordings."""
    with plain_errors():
        sampling = {"sampler": sampler, "steps": steps, "snr": snr, "corrector": corrector}
        run_evaluation(data, checkpoint or [], enhanced or [], output, seed, **sampling)


def run_evaluation(
    data: Path,
    checkpoints: Sequence[Path],
    enhanced: Sequence[Path],
    output: Path | None,
    seed: int = 0,
    **sampling: Any,
) -> "list[Evaluation]":
    """Evaluate the noisy input, every checkpoint and every folder; print the summary.

    `sampling` holds fields of SamplerConfig.
    """
    from rosecd_jax.evaluation.evaluate import evaluate

    named = [(unique_name(path, checkpoints), path) for path in checkpoints]
    models = [(name, load_enhancer(path, **sampling)) for name, path in named]
    folders = [(unique_name(path, enhanced), path) for path in enhanced]
    methods: list[Any] = [("noisy", None), *models, *folders]
    names = [name for name, _ in methods]
    if len(set(names)) < len(names):
        raise ValueError(
            f"two methods share a name ({', '.join(names)}): give directories of different names"
        )
    with progress_bar(None, "evaluating") as advance:
        report = lambda method, done, total: advance(done, total, method)  # noqa: E731
        evaluations = evaluate(data, methods, output=output, seed=seed, progress=report)
    print_summary(evaluations)
    for evaluation in evaluations:
        for result in evaluation.errors:
            typer.secho(f"rosecd: {evaluation.method}: {result.error}", fg="red", err=True)
    if any(evaluation.errors for evaluation in evaluations):
        raise typer.Exit(1)
    return evaluations


def unique_name(path: Path, among: Sequence[Path]) -> str:
    """The last part of a path, with its parent's where two paths end alike."""
    path = path.resolve()
    alike = sum(other.resolve().name == path.name for other in among) > 1
    return f"{path.parent.name}-{path.name}" if alike else path.name


def print_summary(evaluations: "Sequence[Evaluation]") -> None:
    """Mean ± standard deviation of every score, and the real-time factor."""
    from rich.console import Console
    from rich.table import Table

    titles = {"pesq": "PESQ", "estoi": "ESTOI", "si_sdr": "SI-SDR", "si_sir": "SI-SIR", "si_sar": "SI-SAR"}
    table = Table("method", "files", *titles.values(), "s per s of audio")
    for evaluation in evaluations:
        summary, files = evaluation.summary(), len(evaluation.files) - len(evaluation.errors)
        digits = {"pesq": 2, "estoi": 3}
        scores = [
            f"{summary[name][0]:.{digits.get(name, 1)}f} ± {summary[name][1]:.{digits.get(name, 1)}f}"
            for name in titles
        ]
        factor = evaluation.real_time_factor
        speed = "" if factor != factor else f"{factor:.4f}"
        table.add_row(evaluation.method, str(files), *scores, speed)
    console = Console()
    console.width = max(console.width, 110)
    console.print(table)


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="A .ckpt file of the authors, or ours.")],
    target: Annotated[
        Path, typer.Argument(metavar="DST", help="What to make: a directory, or a .ckpt file.")
    ],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
) -> None:
    """The authors' PyTorch checkpoint (a file) into ours (a directory), or ours into theirs."""
    from rosecd_jax.conversion import load_torch_checkpoint, save_torch_checkpoint
    from rosecd_jax.models.checkpoint import load_checkpoint, open_checkpoint, save_checkpoint

    with plain_errors():
        if target.exists() and not overwrite:
            raise ValueError(f"{target} exists; choose another path or pass --overwrite")
        if source.resolve() == target.resolve():
            raise ValueError(f"{target} is the source itself; choose another target")
        if source.is_file():
            if target.is_file():
                raise ValueError(f"{target} is a file; a converted checkpoint is a directory")
            if target.is_dir() and not (target / "config").is_dir():
                raise ValueError(f"{target} is a directory, but no checkpoint; choose another path")
            model, weights = load_torch_checkpoint(source)
            save_checkpoint(target, model, weights, overwrite=overwrite)
        else:
            if target.is_dir():
                raise ValueError(f"{target} is a directory; a checkpoint for PyTorch is a file")
            names = open_checkpoint(source).weights
            loaded = {name: load_checkpoint(source, name) for name in names}  # type: ignore[arg-type]
            weights = {name: params for name, (_, params) in loaded.items()}
            model = next(model for model, _ in loaded.values())
            save_torch_checkpoint(target, model, weights, overwrite=overwrite)
    typer.echo(f"{source} -> {target} ({' and '.join(weights)} weights)")


@app.command()
def info(
    path: Annotated[Path, typer.Argument(help="A checkpoint: ours (a directory), or a .ckpt file.")],
    parameters: Annotated[bool, typer.Option("--parameters", help="List every parameter's shape.")] = False,
) -> None:
    """What a checkpoint is: its model, its size, and which weights it holds. The weights are not read."""
    import jax
    from rich.console import Console
    from rich.tree import Tree

    from rosecd_jax.conversion import open_torch_checkpoint
    from rosecd_jax.models.checkpoint import open_checkpoint
    from rosecd_jax.models.score_model import ScoreModel

    with plain_errors():
        if path.is_file():
            stored, kind = open_torch_checkpoint(path), "PyTorch checkpoint of the authors' code"
        else:
            stored, kind = open_checkpoint(path), "rosecd_jax checkpoint"
    config = stored.config
    shapes = jax.eval_shape(ScoreModel(config).init, jax.random.key(0))
    count = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    step = "unknown" if stored.step is None else str(stored.step)
    lines = {
        "path": stored.path,
        "kind": kind,
        "role": config.role,
        "network": config.network,
        "parameters": f"{count:,}",
        "SDE": config.sde,
        "preconditioning": config.preconditioning,
        "front end": config.front_end,
        "sample rate": f"{config.front_end.sample_rate} Hz",
        "weights": ", ".join(sorted(stored.weights)),
        "training step": step,
    }
    for name, value in lines.items():
        typer.echo(f"{name + ':':<17}{value}")
    if parameters:
        tree = Tree("parameters")
        add_shapes(tree, shapes)
        Console().print(tree)


def add_shapes(branch: "Tree", shapes: Any) -> None:
    """Hang a tree of arrays' shapes onto a tree of rich."""
    for name, value in shapes.items():
        if isinstance(value, dict):
            add_shapes(branch.add(name), value)
        else:
            branch.add(f"{name} {value.shape}")


@app.command()
def verify(
    goldens: Annotated[Path, typer.Argument(metavar="GOLDENS", help="The folder of the authors' numbers.")],
) -> None:
    """Compare everything with numbers computed by the authors' code; exit code 1 if one does not agree."""
    from rich.console import Console
    from rich.table import Table

    from rosecd_jax.evaluation.verify import verify

    table = Table("quantity", "shape", "largest difference", "relative", "allowed", "")
    rows = []
    with plain_errors(), progress_bar(None, "comparing") as advance:
        for row in verify(goldens):
            rows.append(row)
            advance(len(rows), None, row.quantity)
            table.add_row(*row.cells())
    console = Console()
    console.width = max(console.width, 110)
    console.print(table)
    different = sum(not row.agrees for row in rows)
    typer.echo(f"{len(rows) - different} of {len(rows)} agree")
    if different:
        raise typer.Exit(1)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def train(
    context: typer.Context,
    config: Annotated[str, typer.Option(help="A file of configs/, as FILE.py or FILE.py:ARGUMENT.")],
    workdir: Annotated[Path, typer.Option(help="For checkpoints and curves; resumed if it holds any.")],
) -> None:
    """Train a model. Any value of the config can be set: --config.data.batch_size=8"""
    from rosecd_jax.training.loop import train

    with plain_errors():
        train(read_config(config, context.args), workdir, typer.echo)


def read_config(file: str, overrides: Sequence[str]) -> "TrainConfig":
    """A config file with `--config.key=value` overrides applied.

    Raises:
      ValueError: if the file or a value doesn't fit.
    """
    from absl import flags
    from ml_collections import config_flags

    from rosecd_jax.models.config import from_dict
    from rosecd_jax.training.config import TrainConfig

    path = Path(file.split(":")[0])
    if not path.is_file():
        raise ValueError(f"no config file {path}; configs/ holds those of the project")
    words = ["rosecd", f"--config={file}", *overrides]
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=words)
    try:
        rest = values(words)
        if rest[1:]:
            raise ValueError(f"unexpected argument {rest[1]!r}; config values are set as --config.key=value")
        settings = values["config"].value.to_dict()  # pyright: ignore[reportOptionalMemberAccess]
    except (flags.Error, AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{file}: {error}") from error
    return from_dict(TrainConfig, settings)


@prepare_app.command()
def synthetic(
    directory: Annotated[
        Path, typer.Argument(metavar="OUT", help="Where train/, valid/ and test/ are made.")
    ],
    hours: Annotated[float, typer.Option(help="Length of the training split.")] = 0.5,
    seed: SeedOption = 0,
    test_files: Annotated[int, typer.Option(help="0: one for each minute of training speech.")] = 0,
) -> None:
    """The embedded corpus: synthetic voices and noises, nothing to download (needs the extra `demo`)."""
    from rosecd_jax.data.synthetic import SyntheticCorpus, write_corpus

    with plain_errors():
        corpus = SyntheticCorpus(hours=hours, seed=seed, test_files=test_files)
        with progress_bar(100, "synthesising") as advance:
            report = lambda split, part: advance(round(100 * part), 100, split)  # noqa: E731
            summary = write_corpus(directory, corpus, report)
    for split, made in summary.items():
        typer.echo(f"{directory / split}: {made.files} pairs, {made.seconds / 60:.1f} minutes")


def main() -> None:
    """For `python -m rosecd_jax.cli`."""
    app(prog_name="rosecd")


if __name__ == "__main__":
    sys.exit(main())
