"""A folder of audio files into another: planned, then read, computed and written at the same time."""

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, NamedTuple

import jax
import numpy as np

from rosecd_jax.audio import io
from rosecd_jax.files import existing_part
from rosecd_jax.inference import files
from rosecd_jax.inference.ahead import ahead, ahead_or_none
from rosecd_jax.inference.done import is_done
from rosecd_jax.inference.programs import Stretch
from rosecd_jax.inference.waves import WaveEnhancer

Existing = Literal["refuse", "resume", "overwrite"]
Status = Literal["enhanced", "kept", "failed", "left", "skipped"]
THREADS = min(4, os.cpu_count() or 1)
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


class Report(NamedTuple):
    """What became of one file.

    Attributes:
      source, target: its paths.
      status: "enhanced", "kept" (an earlier run has done it), "failed", "left" (the run ended before), or
        "skipped" (sound in a format that can't be read or written, such as .m4a).
      seconds: its length, as far as it is known.
      error: why it failed, else empty.
      clipped: how many of its samples were clipped, having no place in the target's encoding.
    """

    source: Path
    target: Path
    status: Status
    seconds: float
    error: str = ""
    clipped: int = 0


class Job(NamedTuple):
    """A file to be enhanced, and what its header says."""

    source: Path
    target: Path
    header: io.AudioInfo

    @property
    def seconds(self) -> float:
        return self.header.samples / self.header.sample_rate

    def is_done(self, subtype: str | None) -> bool:
        return is_done(self.source, self.header, self.target, subtype)

    def report(self, status: Status, error: str = "") -> Report:
        return Report(self.source, self.target, status, self.seconds, error)


class Plan(NamedTuple):
    """The files that are to be enhanced, and reports of those that needn't or can't be."""

    jobs: list[Job]
    settled: list[Report]


def plan_folder(
    source: Path,
    target: Path,
    existing: Existing,
    format: str | None,
    subtype: str | None,
    share: tuple[int, int],
) -> Plan:
    """Look at the headers of a folder's files, and at what is there already. Arguments as `Enhancer`'s."""
    if existing not in ("refuse", "resume", "overwrite"):
        raise ValueError(f"existing is {existing!r}; expected refuse, resume or overwrite")
    if not 0 <= share[0] < share[1]:
        raise ValueError(f"share is {share}; expected (i, n) with 0 <= i < n")
    if source.is_file():
        raise io.AudioError(f"{source}: is a file; give a folder")
    if not source.exists():
        raise io.AudioError(f"{source}: no such file or folder; check the spelling")
    if target.exists() and not target.is_dir():
        raise io.AudioError(f"{target}: is a file; a folder's output needs a folder")
    if _real(source) == _real(target):
        raise io.AudioError(f"{target}: is the input itself; choose another output")
    _refuse_unwritable(target)
    looked = io.look(source)
    found, others = (_outside(target, source, files) for files in (looked.files, looked.others))
    if not found:
        raise io.AudioError(f"{source}: no audio files but those in {target}; check the spelling")
    if format:
        format = format.lower().removeprefix(".")
        _refuse_unfit(format, subtype)
    goals = _goals(source, target, found, format, subtype)
    mine = list(goals.items())[share[0] :: share[1]]
    there = [goal for _, (goal, error) in mine if not error and goal.exists()]
    if there and existing == "refuse":
        raise ValueError(
            f"{len(there)} of {len(mine)} outputs exist already, such as {there[0]}; pass --resume to keep "
            "those that are complete and up to date, or --overwrite to replace them all"
        )

    def settle(item: tuple[Path, tuple[Path, str]]) -> Job | Report:
        file, (goal, error) = item
        if error:
            return Report(file, goal, "failed", 0.0, error)
        try:
            job = Job(file, goal, io.info(file))
            files.refuse_misfit(goal, job.header, subtype)
        except (io.AudioError, OSError) as error:
            return Report(file, goal, "failed", 0.0, str(error))
        return job.report("kept") if existing == "resume" and job.is_done(subtype) else job

    with ThreadPoolExecutor(THREADS) as pool:
        settled = list(pool.map(settle, mine))
    jobs = [item for item in settled if isinstance(item, Job)]
    reports = [item for item in settled if isinstance(item, Report)]
    if share[0] == 0:
        reports += [Report(source, target, "failed", 0.0, error) for error in looked.errors]
        reports += [Report(file, target / file.relative_to(source), "skipped", 0.0) for file in others]
    return Plan(jobs, reports)


def _outside(target: Path, source: Path, found: list[Path]) -> list[Path]:
    """Those that aren't outputs of before, where the output lies inside the input."""
    output = _real(target)
    if source.absolute() in target.absolute().parents:  # by its name: it may be a link that leads elsewhere
        found = [file for file in found if target.absolute() not in file.absolute().parents]
    if _real(source) in output.parents:
        found = [file for file in found if output not in _real(file).parents]
    return found


def plan_file(
    source: Path, target: Path, existing: Existing, format: str | None, subtype: str | None
) -> Plan:
    """As `plan_folder`, of one file; `target` is a file, or a folder for one of the source's name."""
    format = format and format.lower().removeprefix(".")
    if target.is_dir() or not target.suffix:
        target = target / (source.with_suffix(f".{format}") if format else source).name
    if files.same_file(source, target):
        raise io.AudioError(f"{target}: is the input itself; choose another output")
    if format and target.suffix.lower() != f".{format}":
        raise ValueError(f"{target}: its suffix is another format than {format}; leave out --format")
    if not target.suffix:
        raise io.AudioError(f"{target}: its suffix should say the format; add one, or give --format")
    _refuse_unfit(target.suffix.removeprefix("."), subtype)
    _refuse_unwritable(target.parent)
    job = Job(source, target, io.info(source))
    files.refuse_misfit(target, job.header, subtype)
    if target.exists() and existing == "refuse":
        raise ValueError(f"{target} exists; pass --overwrite to replace it, or choose another output")
    if existing == "resume" and job.is_done(subtype):
        return Plan([], [job.report("kept")])
    return Plan([job], [])


def _real(path: Path) -> Path:
    """Where links lead; unlike Path.resolve it bears circles."""
    return Path(os.path.realpath(path))


def _refuse_unwritable(folder: Path) -> None:
    """Before hours of work, not after."""
    there = existing_part(folder)
    if there.is_dir() and not os.access(there, os.W_OK | os.X_OK):
        raise io.AudioError(f"{there}: can't be written; change its permissions or choose another output")


def _refuse_unfit(format: str, subtype: str | None) -> None:
    if not io.fits(f"a.{format}", subtype):
        of = f"{format} and subtype {subtype}" if subtype else format
        raise ValueError(
            f"no such format as {of}; known are {' '.join(io.FORMATS)}, with libsndfile's subtypes"
        )


def _goals(
    source: Path, target: Path, found: list[Path], format: str | None, subtype: str | None
) -> dict[Path, tuple[Path, str]]:
    """Where each file goes, and why it can't."""
    root = _real(target)
    sources = {_real(file) for file in found}
    goals: dict[Path, tuple[Path, str]] = {}
    owners: dict[Path, Path] = {}
    for file in found:
        goal = target / file.relative_to(source)
        if format:
            goal = goal.with_suffix(f".{format}")
        folder = _real(goal.parent)
        owner = owners.setdefault(folder / goal.name, file)  # where it really is: OUT may have links in it
        error = ""
        if owner is not file:
            error = f"{file}: would become {goal}, as {owner} does; rename one of them"
        elif folder != root and root not in folder.parents:
            error = f"{file}: {goal.parent} is a link that leads out of {target}; remove it"
        elif folder / goal.name in sources:
            error = f"{file}: would become {goal}, which is an input; choose another output folder"
        elif goal.is_dir():
            error = f"{file}: {goal} is a folder; remove it or choose another output folder"
        elif not io.fits(goal, subtype):
            error = f"{file}: {goal.suffix} can't hold subtype {subtype}; give --format too"
        goals[file] = goal, error
    return goals


class _Loaded(NamedTuple):
    """A file in memory, at both rates."""

    job: Job
    audio: io.Audio
    wave: np.ndarray


class _Batch(NamedTuple):
    """Channels of one or more files to be computed together."""

    frames: int
    items: list[tuple[_Loaded, Stretch]]


def enhance_folder(
    waves: WaveEnhancer,
    plan: Plan,
    seed: int,
    subtype: str | None,
    stop: Callable[[], bool],
    advance: Callable[[float], None] = lambda seconds: None,
) -> Iterator[Report]:
    """Carry out a plan; see `Enhancer.enhance_folder`. `advance` is told of seconds of audio done or failed.

    A chain of stages, each of which works ahead of the next: load, compute, write. Files of like length
    follow each other, so that batches are full.
    """
    yield from plan.settled
    io.remove_leftovers(job.target for job in plan.jobs)
    rate = waves.programs.model.front_end.sample_rate
    full: list[str] = []
    left: list[Job] = []
    closed = False

    def stopped() -> bool:
        return closed or bool(full) or stop()

    def like_lengths() -> Iterator[Job]:
        for job in sorted(plan.jobs, key=lambda job: waves.frames(files.samples_at(rate, job.header))):
            if stopped():
                left.append(job)
            else:
                yield job

    def load(job: Job) -> _Loaded | Job | Report:
        try:
            if files.is_long(waves, job.header):
                return job
            audio = io.read(job.source)
            return _Loaded(job, audio, io.resample(audio.wave, audio.sample_rate, rate))
        except Exception as error:  # whatever it is, the other files are enhanced
            advance(job.seconds)
            return job.report("failed", why(job, error))

    def compute(batch: _Batch | Job | Report) -> Report | list[tuple[_Loaded, np.ndarray | Exception]]:
        if isinstance(batch, Report):
            return batch
        if isinstance(batch, Job):
            paths = batch.source, batch.target
            return attempt(
                batch, lambda done: files.enhance_long_file(waves, *paths, seed, subtype, stopped, done)
            )
        try:
            stretches = [stretch for _, stretch in batch.items]
            results = waves.programs(batch.frames, rows(batch.frames), stretches)
        except Exception as error:
            results = [error] * len(batch.items)
        return [(loaded, row) for (loaded, _), row in zip(batch.items, results, strict=True)]

    def write(result: Report | tuple[_Loaded, np.ndarray | Exception]) -> Report:
        if isinstance(result, Report):
            return result
        (job, audio, wave), rows = result
        if isinstance(rows, Exception):
            advance(job.seconds)
            return job.report("failed", why(job, rows))
        enhanced = waves.finish(rows, wave)

        def work(done: Callable[[float], None]) -> files.Written:
            made = files.write_like(audio, job.target, enhanced, waves, subtype)
            done(made.seconds)
            return made

        return attempt(job, work)

    def attempt(job: Job, work: Callable[[Callable[[float], None]], files.Written]) -> Report:
        seconds_left = job.seconds

        def done(seconds: float) -> None:
            nonlocal seconds_left
            seconds_left -= seconds
            advance(seconds)

        try:
            clipped = work(done).clipped
        except files.Stopped:
            return job.report("left")
        except Exception as error:
            cause = error if isinstance(error, OSError) else error.__cause__
            if isinstance(cause, OSError) and cause.errno in FULL:
                full.append(str(error))
            advance(seconds_left)
            return job.report("failed", why(job, error))
        seconds = job.seconds - seconds_left  # headers may lie
        return job.report("enhanced")._replace(seconds=seconds, clipped=clipped)

    def why(job: Job, error: Exception) -> str:
        if isinstance(error, io.AudioError | OSError):
            return str(error)
        if isinstance(error, jax.errors.JaxRuntimeError | MemoryError):
            remedy = "if memory is short, ask for fewer frames at once (--batch-frames) or a lower --limit"
        else:
            remedy = "this should not happen; please report it, with the file"
        return f"{job.source}: could not be computed ({type(error).__name__}: {error}); {remedy}"

    rows = waves.programs.rows
    readers, computers, writers = (
        ThreadPoolExecutor(threads, name)
        for name, threads in (("read", THREADS), ("compute", 2), ("write", THREADS))
    )
    wait = True
    try:
        loaded = ahead(lambda job: readers.submit(load, job), like_lengths(), 2 * THREADS)
        batches = _batches(loaded, lambda wave: waves.stretches(wave, seed), rows)
        computed = ahead_or_none(lambda batch: computers.submit(compute, batch), batches, 3)
        written = ahead_or_none(lambda item: writers.submit(write, item), _by_file(computed), 2 * THREADS)
        yield from (report for report in written if report)
    except KeyboardInterrupt:
        wait = False  # whoever interrupts doesn't want to wait for what is under way
        raise
    finally:
        closed = True  # a long file ends at its next block
        for pool in (readers, computers, writers):
            pool.shutdown(wait, cancel_futures=True)
    for job in left:
        yield job.report("left", full[0] if full else "")


def _batches(
    loaded: Iterable[_Loaded | Job | Report],
    stretches: Callable[[np.ndarray], tuple[int, list[Stretch]]],
    rows: Callable[[int], int],
) -> Iterator[_Batch | Job | Report]:
    """Channels of files of one padded length, as many as a program takes; what isn't loaded passes by."""
    frames, items = 0, []
    for file in loaded:
        if not isinstance(file, _Loaded):
            if items and isinstance(file, Job):  # a long file: what is short doesn't wait for it
                yield _Batch(frames, items)
                items = []
            yield file
            continue
        size, pieces = stretches(file.wave)
        for piece in pieces:
            if items and (size != frames or len(items) == rows(frames)):
                yield _Batch(frames, items)
                items = []
            frames = size
            items.append((file, piece))
    if items:
        yield _Batch(frames, items)


def _by_file(
    computed: Iterable[Report | list[tuple[_Loaded, np.ndarray | Exception]] | None],
) -> Iterator[Report | tuple[_Loaded, np.ndarray | Exception] | None]:
    """Batches' channels put together as files again: float32 [channels, frames · hop], or what went wrong.

    None, which says that there is nothing yet, passes by.
    """
    rows: list[np.ndarray | Exception] = []
    for result in computed:
        if result is None or isinstance(result, Report):
            yield result
            continue
        for loaded, row in result:
            rows.append(row)
            if len(rows) == len(loaded.wave):
                errors = [row for row in rows if isinstance(row, Exception)]
                yield loaded, errors[0] if errors else np.stack([np.asarray(row) for row in rows])
                rows = []
