"""A plan carried out: files are read, computed and written at the same time, in batches of like length."""

import dataclasses
import errno
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import jax
import numpy as np

from rosecd_jax.audio import io
from rosecd_jax.inference import files
from rosecd_jax.inference.plan import THREADS, Job, Plan
from rosecd_jax.inference.programs import Stretch
from rosecd_jax.inference.report import Report
from rosecd_jax.inference.waves import WaveEnhancer
from rosecd_jax.prefetch import ahead, ahead_or_none

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


class _Loaded(NamedTuple):
    """A file in memory, at both rates."""

    job: Job
    audio: io.Audio
    wave: np.ndarray


class _Batch(NamedTuple):
    """Channels of one or more files to be computed together."""

    frames: int
    items: list[tuple[_Loaded, Stretch]]


Enhanced = tuple[_Loaded, np.ndarray | Exception]
"""A file, or a channel of it, and its enhanced samples or what went wrong."""


def enhance_folder(
    waves: WaveEnhancer,
    plan: Plan,
    seed: int,
    subtype: str | None,
    stop: Callable[[], bool],
    advance: Callable[[float], None] = lambda seconds: None,
) -> Iterator[Report]:
    """Carry out a plan; see `Enhancer.enhance_folder`. `advance` takes seconds of audio done or failed.

    A chain of stages, each of which works ahead of the next: load, compute, write. Files of like length
    follow each other, so that batches are full.
    """
    yield from plan.settled
    io.remove_leftovers(job.target for job in plan.jobs)
    stages = _Stages(waves, seed, subtype, stop, advance)
    rows = waves.programs.rows
    readers, computers, writers = (
        ThreadPoolExecutor(threads, name)
        for name, threads in (("read", THREADS), ("compute", 2), ("write", THREADS))
    )
    wait = True
    try:
        loaded = ahead(
            lambda job: readers.submit(stages.load, job), stages.like_lengths(plan.jobs), 2 * THREADS
        )
        batches = _batches(loaded, lambda wave: waves.stretches(wave, seed), rows)
        computed = ahead_or_none(lambda batch: computers.submit(stages.compute, batch), batches, 3)
        written = ahead_or_none(
            lambda item: writers.submit(stages.write, item), _by_file(computed), 2 * THREADS
        )
        yield from (report for report in written if report)
    except KeyboardInterrupt:
        wait = False  # whoever interrupts doesn't want to wait for what is under way
        raise
    finally:
        stages.closed = True  # a long file ends at its next block
        for pool in (readers, computers, writers):
            pool.shutdown(wait, cancel_futures=True)
    for job in stages.left:
        yield job.report("left", stages.full[0] if stages.full else "")


@dataclasses.dataclass
class _Stages:
    """What is done about a file at each stage. Whatever goes wrong with one, the others are enhanced.

    Attributes:
      full: errors of a disk that is full.
      left: files not begun when it had to end.
      closed: nobody takes reports any more.
    """

    waves: WaveEnhancer
    seed: int
    subtype: str | None
    stop: Callable[[], bool]
    advance: Callable[[float], None]
    full: list[str] = dataclasses.field(default_factory=list)
    left: list[Job] = dataclasses.field(default_factory=list)
    closed: bool = False

    @property
    def sample_rate(self) -> int:
        return self.waves.programs.model.front_end.sample_rate

    def stopped(self) -> bool:
        return self.closed or bool(self.full) or self.stop()

    def like_lengths(self, jobs: Iterable[Job]) -> Iterator[Job]:
        """Jobs by padded length, until it has to end."""
        frames = lambda job: self.waves.frames(files.samples_at(self.sample_rate, job.header))  # noqa: E731
        for job in sorted(jobs, key=frames):
            if self.stopped():
                self.left.append(job)
            else:
                yield job

    def load(self, job: Job) -> _Loaded | Job | Report:
        """A short file in memory; a long one as it is."""
        try:
            if files.is_long(self.waves, job.header):
                return job
            audio = io.read(job.source)
            return _Loaded(job, audio, io.resample(audio.wave, audio.sample_rate, self.sample_rate))
        except Exception as error:
            self.advance(job.seconds)
            return job.report("failed", _why(job, error))

    def compute(self, batch: _Batch | Job | Report) -> Report | list[Enhanced]:
        """A batch's channels enhanced; a long file from disk to disk."""
        if isinstance(batch, Report):
            return batch
        if isinstance(batch, Job):
            paths = batch.source, batch.target
            return self._attempt(
                batch,
                lambda done: files.enhance_long_file(
                    self.waves, *paths, self.seed, self.subtype, self.stopped, done
                ),
            )
        programs, stretches = self.waves.programs, [stretch for _, stretch in batch.items]
        try:
            results = programs(batch.frames, programs.rows(batch.frames), stretches)
        except Exception as error:
            results = [error] * len(batch.items)
        return [(loaded, row) for (loaded, _), row in zip(batch.items, results, strict=True)]

    def write(self, result: Report | Enhanced) -> Report:
        """A file as its source is."""
        if isinstance(result, Report):
            return result
        (job, audio, wave), rows = result
        if isinstance(rows, Exception):
            self.advance(job.seconds)
            return job.report("failed", _why(job, rows))
        enhanced = self.waves.finish(rows, wave)

        def work(done: Callable[[float], None]) -> files.Written:
            made = files.write_like(audio, job.target, enhanced, self.waves, self.subtype)
            done(made.seconds)
            return made

        return self._attempt(job, work)

    def _attempt(self, job: Job, work: Callable[[Callable[[float], None]], files.Written]) -> Report:
        seconds_left = job.seconds

        def done(seconds: float) -> None:
            nonlocal seconds_left
            seconds_left -= seconds
            self.advance(seconds)

        try:
            clipped = work(done).clipped
        except files.Stopped:
            return job.report("left")
        except Exception as error:
            cause = error if isinstance(error, OSError) else error.__cause__
            if isinstance(cause, OSError) and cause.errno in FULL:
                self.full.append(str(error))
            self.advance(seconds_left)
            return job.report("failed", _why(job, error))
        seconds = job.seconds - seconds_left  # headers may lie
        return job.report("enhanced")._replace(seconds=seconds, clipped=clipped)


def _why(job: Job, error: Exception) -> str:
    if isinstance(error, io.AudioError | OSError):
        return str(error)
    if isinstance(error, jax.errors.JaxRuntimeError | MemoryError):
        remedy = "if memory is short, ask for fewer frames at once (--batch-frames) or a lower --limit"
    else:
        remedy = "this should not happen; please report it, with the file"
    return f"{job.source}: could not be computed ({type(error).__name__}: {error}); {remedy}"


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
    computed: Iterable[Report | list[Enhanced] | None],
) -> Iterator[Report | Enhanced | None]:
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
