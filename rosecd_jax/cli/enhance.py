"""rosecd enhance."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from rosecd_jax.cli.common import (
    AttenuationOption,
    CheckpointOption,
    CorrectorOption,
    DtypeOption,
    LimitOption,
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

MINUTE = 60.0


def enhance(
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="An audio file, or a folder of them.")],
    target: Annotated[
        Path, typer.Argument(metavar="OUTPUT", help="A file for a file, a folder for a folder.")
    ],
    checkpoint: CheckpointOption = Path(DEFAULT),
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep outputs that are complete and not older than their input.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace outputs that exist.")] = False,
    format: Annotated[
        str, typer.Option(help="Of the outputs, such as wav or flac; each input's unless given.")
    ] = "",
    subtype: Annotated[
        str, typer.Option(help="Their encoding, such as PCM_16, PCM_24 or FLOAT; each input's unless given.")
    ] = "",
    report: Annotated[Path | None, typer.Option(help="Write what became of each file, as JSON.")] = None,
    strength: StrengthOption = 1.0,
    attenuation_limit: AttenuationOption = None,
    weights: WeightsOption = "ema",
    sampler: SamplerOption = "auto",
    steps: StepsOption = 0,
    snr: SnrOption = 0.0,
    corrector: CorrectorOption = "annealed-langevin",
    seed: SeedOption = 0,
    dtype: DtypeOption = "",
    limit: LimitOption = 30.0,
    batch_frames: Annotated[
        int | None,
        typer.Option(help="Frames (8 ms) computed at once; 4096 unless given, on a CPU one signal."),
    ] = None,
) -> None:
    """Remove noise from a file, or from every file of a folder and its subfolders.

    Rate, length, channels, format and encoding stay as they are. A file that can't be read is reported at the
    end, with exit code 1; the others are enhanced all the same. Ctrl-C ends after the files under way;
    --resume goes on. Started as several processes (by srun or mpirun, or with JAX_NUM_PROCESSES and
    JAX_PROCESS_ID set), each takes its share of the files and ends by itself.
    """
    from rosecd_jax.audio import io
    from rosecd_jax.inference.folder import Plan, enhance_folder, plan_file, plan_folder
    from rosecd_jax.inference.summary import Summary
    from rosecd_jax.workers import share_of_processes

    with plain_errors():
        if resume and overwrite:
            raise ValueError("--resume keeps what is there and --overwrite replaces it; give one of them")
        if "-" in (str(source), str(target), str(report)):
            raise ValueError("-: standard input and output are for rosecd stream; give paths")
        existing = "resume" if resume else "overwrite" if overwrite else "refuse"
        share = share_of_processes()
        encoding = format or None, subtype.upper() or None
        if source.is_file():
            plan = plan_file(source, target, existing, *encoding) if share[0] == 0 else Plan([], [])
        else:
            plan = plan_folder(source, target, existing, *encoding, share)
        options: dict[str, Any] = {"sampler": sampler, "steps": steps, "snr": snr, "corrector": corrector}
        options |= {"weights": weights, "dtype": dtype or None, "limit": limit, "batch_frames": batch_frames}
        options |= {"strength": strength, "attenuation_limit": attenuation_limit}
        summary = Summary({"checkpoint": str(checkpoint), "seed": seed, "share": share, **options})
        summary.settings |= {"format": encoding[0], "subtype": encoding[1]}
        if report and share[1] > 1:
            report = report.with_name(f"{report.stem}-{share[0]}{report.suffix}")
        if report:
            summary.write(report)  # before hours of work, not after, it shows whether that can be done
        try:
            enhancer = load_enhancer(checkpoint, **options)
        except BaseException as error:
            summary.state = f"ended by {type(error).__name__}"
            if report:
                summary.write(report)
            raise
        summary.settings |= {"sampler": enhancer.sampler.sampler, "steps": enhancer.sampler.steps}
        summary.started = time.time()
        total, dropped = sum(job.seconds for job in plan.jobs), False
        try:
            with stop_signals() as signalled, audio_bar(total) as advance:
                stop = lambda: signalled() is not None  # noqa: E731
                results = enhance_folder(enhancer.waves, plan, seed, encoding[1], stop, advance)
                for result in results:  # kept by name: if it were closed, it would wait for what is under way
                    summary.reports.append(result)
                    if result.status == "failed":
                        typer.secho(f"rosecd: {result.error}", fg="red", err=True)
            number = signalled()
            counts = summary.counts
            summary.state = (
                f"ended by {number.name}" if number else "disk full" if counts["left"] else "finished"
            )
        except KeyboardInterrupt:
            reported = {result.target for result in summary.reports}
            summary.reports += [
                job.report("enhanced" if written_since(summary.started, job.target) else "left")
                for job in plan.jobs
                if job.target not in reported
            ]
            summary.state, number, dropped = "interrupted", signal.SIGINT, True
        except BaseException as error:
            summary.state = f"ended by {type(error).__name__}"
            raise
        finally:
            summary.compiling = enhancer.programs.compile_seconds
            if report:
                summary.write(report)
            tell(summary.line(target))
        if summary.counts["left"]:
            typer.secho(f"rosecd: {summary.state}; go on with --resume", fg="red", err=True)
        if dropped:  # threads are still at work, for minutes maybe, on what nobody wants
            io.remove_leftovers(job.target for job in plan.jobs)
            os._exit(128 + signal.SIGINT)
        if number:
            raise typer.Exit(128 + number)
        if summary.counts["failed"] or summary.counts["left"]:
            raise typer.Exit(1)


def written_since(time: float, path: Path) -> bool:
    """Whether a file got its name after this (seconds since the epoch)."""
    try:
        return path.stat().st_mtime > time
    except OSError:
        return False


def tell(line: str) -> None:
    """Print to standard output, which may be closed or full: the work is done all the same."""
    try:
        typer.echo(line)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python flushes at its end


@contextmanager
def stop_signals() -> Iterator[Callable[[], signal.Signals | None]]:
    """Note what asks to end, as far as it isn't ignored (nohup); yields a function that says which came.

    A second SIGINT interrupts.
    """
    received: list[signal.Signals] = []

    def note(number: int, frame: object) -> None:
        del frame
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(signal.Signals(number))
        typer.secho("rosecd: ending after the files under way; Ctrl-C again to drop them", err=True)

    numbers = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    heard = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, note) for number in heard}
    try:
        yield lambda: received[0] if received else None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def audio_bar(total: float) -> Iterator[Callable[[float], None]]:
    """A bar in seconds of audio on stderr, with speed and time left; yields a function of seconds done.

    Where stderr is no terminal: a line a minute.
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
    told = start
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("enhancing", total=total, speed="")

        def advance(seconds: float) -> None:
            nonlocal told
            now, done = time.perf_counter(), bar.tasks[0].completed + seconds
            speed = f"{done / (now - start):.1f} × real time"
            bar.update(task, advance=seconds, speed=speed)
            if not console.is_terminal and now - told > MINUTE:
                told = now
                typer.echo(f"rosecd: {done:.0f} of {total:.0f} s of audio, {speed}", err=True)

        yield advance
