"""The command `rosecd enhance`."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rosecd_jax.cli.common import (
    AttenuationOption,
    CheckpointOption,
    CorrectorOption,
    DtypeOption,
    LimitOption,
    NetworkOption,
    SamplerOption,
    SeedOption,
    SnrOption,
    StepsOption,
    StrengthOption,
    WeightsOption,
    load_enhancer,
    plain_errors,
)
from rosecd_jax.pretrained import DEFAULT
from rosecd_jax.processes import on_signals, share_of_processes

if TYPE_CHECKING:
    from rosecd_jax.inference import Enhancer
    from rosecd_jax.inference.plan import Existing, Plan
    from rosecd_jax.inference.report import Report, Summary

MINUTE = 60.0
INTERRUPTED = "interrupted"

InputArgument = Annotated[Path, typer.Argument(metavar="INPUT", help="Audio file, or a folder of them.")]
OutputArgument = Annotated[
    Path, typer.Argument(metavar="OUTPUT", help="File for a file, folder for a folder.")
]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Skip outputs that are complete and not older than their input.")
]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace existing outputs.")]
FormatOption = Annotated[
    str, typer.Option(help="Format of outputs, such as wav or flac; by default, each input's.")
]
SubtypeOption = Annotated[
    str, typer.Option(help="Encoding, such as PCM_16, PCM_24 or FLOAT; by default, each input's.")
]
ReportOption = Annotated[Path | None, typer.Option(help="JSON file for a report on each file.")]
BatchFramesOption = Annotated[
    int | None,
    typer.Option(
        help="STFT frames computed at once.",
        show_default="4096; on a CPU one signal at a time",
    ),
]


def enhance(
    source: InputArgument,
    target: OutputArgument,
    checkpoint: CheckpointOption = Path(DEFAULT),
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    format: FormatOption = "",
    subtype: SubtypeOption = "",
    report: ReportOption = None,
    strength: StrengthOption = 1.0,
    attenuation_limit: AttenuationOption = None,
    weights: WeightsOption = "ema",
    sampler: SamplerOption = "auto",
    steps: StepsOption = 0,
    snr: SnrOption = 0.0,
    corrector: CorrectorOption = "annealed-langevin",
    seed: SeedOption = 0,
    dtype: DtypeOption = None,
    network: NetworkOption = "",
    limit: LimitOption = 30.0,
    batch_frames: BatchFramesOption = None,
) -> None:
    """Remove noise from a file, or from every file of a folder and its subfolders.

    Rate, length, channels, format and encoding are kept. A file that can't be read is reported, with exit
    code 1 at the end; the others are still enhanced. Ctrl-C stops after the current files; --resume
    continues. If started as several processes (by srun or mpirun, or with JAX_NUM_PROCESSES and
    JAX_PROCESS_ID), each enhances its share of the files.
    """
    from rosecd_jax.inference.report import Summary

    with plain_errors():
        if resume and overwrite:
            raise ValueError("--resume keeps existing outputs, --overwrite replaces them; give one of them")
        if "-" in (str(source), str(target), str(report)):
            raise ValueError("-: standard input and output are for rosecd stream; give paths")
        share, encoding = share_of_processes(), (format or None, subtype.upper() or None)
        existing = "resume" if resume else "overwrite" if overwrite else "refuse"
        plan = make_plan(source, target, existing, encoding, share)
        options: dict[str, Any] = {"sampler": sampler, "steps": steps, "snr": snr, "corrector": corrector}
        options |= {"weights": weights, "dtype": dtype, "limit": limit, "batch_frames": batch_frames}
        options |= {"strength": strength, "attenuation_limit": attenuation_limit, "network": network}
        summary = Summary({"checkpoint": str(checkpoint), "seed": seed, "share": share, **options})
        summary.settings |= {"format": encoding[0], "subtype": encoding[1]}
        if report and share[1] > 1:
            report = report.with_name(f"{report.stem}-{share[0]}{report.suffix}")
        with reported(summary, report):  # fails at once if the report can't be written
            enhancer = load_enhancer(checkpoint, **options)
            number = carry_out(enhancer, plan, summary, target)
        end_process(number, summary, plan)


def make_plan(
    source: Path,
    target: Path,
    existing: "Existing",
    encoding: tuple[str | None, str | None],
    share: tuple[int, int],
) -> "Plan":
    """Plan this process's share of the work."""
    from rosecd_jax.inference.plan import Plan, plan_file, plan_folder

    if not source.is_file():
        return plan_folder(source, target, existing, *encoding, share)
    return plan_file(source, target, existing, *encoding) if share[0] == 0 else Plan([], [])


@contextmanager
def reported(summary: "Summary", report: Path | None) -> Iterator[None]:
    """Write the report, if any, at the start and at the end, with the error that ended the run."""
    if report:
        summary.write(report)
    try:
        yield
    except BaseException as error:
        summary.state = f"ended by {type(error).__name__}"
        raise
    finally:
        if report:
            summary.write(report)


def carry_out(enhancer: "Enhancer", plan: "Plan", summary: "Summary", target: Path) -> signal.Signals | None:
    """Enhance the files of a plan, fill the summary and print it; return the signal that ended it, if any."""
    from rosecd_jax.inference.pipeline import enhance_folder

    summary.settings |= {"sampler": enhancer.sampler.sampler, "steps": enhancer.sampler.steps}
    summary.started = time.time()
    seed, subtype = summary.settings["seed"], summary.settings["subtype"]
    number = None
    try:
        with stop_signals() as signalled, audio_bar(sum(job.seconds for job in plan.jobs)) as advance:
            stop = lambda: signalled() is not None  # noqa: E731
            results = enhance_folder(enhancer.waves, plan, seed, subtype, stop, advance)
            for result in results:  # a named generator isn't closed early, which would wait for running work
                summary.reports.append(result)
                if result.status == "failed":
                    typer.secho(f"rosecd: {result.error}", fg="red", err=True)
        number = signalled()
        full = "disk full" if summary.counts["left"] else "finished"
        summary.state = f"ended by {number.name}" if number else full
    except KeyboardInterrupt:
        summary.reports += unreported(plan, summary)
        summary.state, number = INTERRUPTED, signal.SIGINT
    finally:
        summary.compiling = enhancer.programs.compile_seconds
        print_line(summary.line(target))
    return number


def unreported(plan: "Plan", summary: "Summary") -> "list[Report]":
    """Report files that were unfinished when the run was interrupted."""
    known = {result.target for result in summary.reports}
    return [
        job.report("enhanced" if written_since(summary.started, job.target) else "left")
        for job in plan.jobs
        if job.target not in known
    ]


def end_process(number: signal.Signals | None, summary: "Summary", plan: "Plan") -> None:
    """End with the exit code of a signal, or with 1 if files failed or are left."""
    from rosecd_jax.audio import io

    if summary.counts["left"]:
        typer.secho(f"rosecd: {summary.state}; --resume continues", fg="red", err=True)
    if summary.state == INTERRUPTED:  # don't wait for running threads
        io.remove_leftovers(job.target for job in plan.jobs)
        os._exit(128 + signal.SIGINT)
    if number:
        raise typer.Exit(128 + number)
    if summary.counts["failed"] or summary.counts["left"]:
        raise typer.Exit(1)


def written_since(time: float, path: Path) -> bool:
    """Return whether a file was modified after `time`, in seconds since the epoch."""
    try:
        return path.stat().st_mtime > time
    except OSError:
        return False


def print_line(line: str) -> None:
    """Print to standard output; ignore errors, as it may be closed or full."""
    try:
        typer.echo(line)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for Python's flush at exit


@contextmanager
def stop_signals() -> Iterator[Callable[[], signal.Signals | None]]:
    """Record stop signals, unless ignored (nohup); yield a function that returns the first received.

    A second SIGINT interrupts.
    """
    received: list[signal.Signals] = []

    def note(number: signal.Signals) -> None:
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(number)
        typer.secho("rosecd: stopping after the current files; Ctrl-C again to abort them", err=True)

    hang_up = [signal.SIGHUP] if hasattr(signal, "SIGHUP") else []
    with on_signals(note, signal.SIGINT, signal.SIGTERM, *hang_up):
        yield lambda: received[0] if received else None


@contextmanager
def audio_bar(total: float) -> Iterator[Callable[[float], None]]:
    """Show a progress bar in seconds of audio on stderr; yield a function that advances it.

    If stderr is not a terminal, print a line per minute.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("enhancing"),
        BarColumn(),
        TextColumn("{task.completed:.0f} of {task.total:.0f} s of audio, {task.fields[speed]}, ETA"),
        TimeRemainingColumn(),
    )
    console, start = Console(stderr=True), time.perf_counter()
    printed = start
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("enhancing", total=total, speed="")

        def advance(seconds: float) -> None:
            nonlocal printed
            now, done = time.perf_counter(), bar.tasks[0].completed + seconds
            speed = f"{done / (now - start):.1f} × real time"
            bar.update(task, advance=seconds, speed=speed)
            if not console.is_terminal and now - printed > MINUTE:
                printed = now
                typer.echo(f"rosecd: {done:.0f} of {total:.0f} s of audio, {speed}", err=True)

        yield advance
