"""Execution of a plan: files are read, computed in batches of similar length, and written concurrently.

Long files are computed in windows, from disk to disk, in bounded memory.
"""

import dataclasses
import errno
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from rosecd_jax.audio import io
from rosecd_jax.audio.level import Level, LevelMeter
from rosecd_jax.inference.plan import THREADS, Job, Plan, fitting_subtype
from rosecd_jax.inference.programs import Stretch
from rosecd_jax.inference.report import Report
from rosecd_jax.inference.windows import WaveEnhancer
from rosecd_jax.models.enhancement import blend
from rosecd_jax.prefetch import ahead, ahead_or_none

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


class _Loaded(NamedTuple):
    """A file in memory: its audio, its wave at the model's rate, and the level of that wave."""

    job: Job
    audio: io.Audio
    wave: np.ndarray
    level: Level


class _Batch(NamedTuple):
    """Channels of one or more files to be computed together."""

    frames: int
    items: list[tuple[_Loaded, Stretch]]


Enhanced = tuple[_Loaded, np.ndarray | Exception]
"""A file, or one of its channels, and its enhanced samples or the error."""
Progress = Callable[[float], None]
"""Called with seconds of audio that are done."""


class _Stopped(Exception):
    """Signal to abandon a file because the caller wants to stop."""


def enhance_folder(
    waves: WaveEnhancer,
    plan: Plan,
    seed: int,
    subtype: str | None,
    stop: Callable[[], bool],
    advance: Progress = lambda seconds: None,
) -> Iterator[Report]:
    """Execute a plan; see `Enhancer.enhance_folder`. `advance` takes seconds of audio done or failed.

    Three stages, each working ahead of the next: load, compute, write. Files are sorted by length, so that
    batches are full.
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
        batches = _batches(loaded, lambda file: waves.stretches(file.wave, file.level, seed), rows)
        computed = ahead_or_none(lambda batch: computers.submit(stages.compute, batch), batches, 3)
        written = ahead_or_none(
            lambda item: writers.submit(stages.write, item), _by_file(computed), 2 * THREADS
        )
        yield from (report for report in written if report)
    except KeyboardInterrupt:
        wait = False  # don't wait for work in progress
        raise
    finally:
        stages.closed = True  # stops a long file at its next block
        for pool in (readers, computers, writers):
            pool.shutdown(wait, cancel_futures=True)
    for job in stages.left:
        yield job.report("left", stages.full[0] if stages.full else "")


@dataclasses.dataclass
class _Stages:
    """The stages of a file. An error in one file doesn't affect the others.

    Attributes:
      full: errors of a full disk.
      left: files not started when the run stopped.
      closed: whether reports are no longer consumed.
    """

    waves: WaveEnhancer
    seed: int
    subtype: str | None
    stop: Callable[[], bool]
    advance: Progress
    full: list[str] = dataclasses.field(default_factory=list)
    left: list[Job] = dataclasses.field(default_factory=list)
    closed: bool = False

    @property
    def sample_rate(self) -> int:
        return self.waves.programs.model.front_end.sample_rate

    def stopped(self) -> bool:
        return self.closed or bool(self.full) or self.stop()

    def samples(self, job: Job) -> int:
        """Return a file's length at the model's rate, by its header."""
        return round(job.header.samples * self.sample_rate / job.header.sample_rate)

    def like_lengths(self, jobs: Iterable[Job]) -> Iterator[Job]:
        """Yield jobs by padded length, until stopped."""
        for job in sorted(jobs, key=lambda job: self.waves.frames(self.samples(job))):
            if self.stopped():
                self.left.append(job)
            else:
                yield job

    def load(self, job: Job) -> _Loaded | Job | Report:
        """Read a short file; return a long one's job."""
        try:
            return job if self.waves.is_long(self.samples(job)) else self._read(job)
        except Exception as error:
            return self._failed(job, error, job.seconds)

    def compute(self, batch: _Batch | Job | Report) -> Report | list[Enhanced]:
        """Enhance a batch's channels, or a long file from disk to disk."""
        if isinstance(batch, Report):
            return batch
        if isinstance(batch, Job):
            return self._attempt(batch, lambda done: self._enhance_long(batch, done))
        programs, stretches = self.waves.programs, [stretch for _, stretch in batch.items]
        try:
            results = programs(batch.frames, programs.rows(batch.frames), stretches)
        except Exception as error:
            results = [error] * len(batch.items)
        return [(loaded, row) for (loaded, _), row in zip(batch.items, results, strict=True)]

    def write(self, result: Report | Enhanced) -> Report:
        """Write a file with its source's rate and encoding."""
        if isinstance(result, Report):
            return result
        file, rows = result
        if isinstance(rows, Exception):
            return self._failed(file.job, rows, file.job.seconds)
        enhanced = self.waves.finish(rows, file.level, file.wave.shape[1])
        return self._attempt(file.job, lambda done: self._write(file, enhanced, done))

    def _attempt(self, job: Job, work: Callable[[Progress], Report]) -> Report:
        seconds_left = job.seconds

        def done(seconds: float) -> None:
            nonlocal seconds_left
            seconds_left -= seconds
            self.advance(seconds)

        try:
            return work(done)
        except _Stopped:
            return job.report("left")
        except Exception as error:
            cause = error if isinstance(error, OSError) else error.__cause__
            if isinstance(cause, OSError) and cause.errno in FULL:
                self.full.append(str(error))
            return self._failed(job, error, seconds_left)

    def _failed(self, job: Job, error: Exception, seconds_left: float) -> Report:
        self.advance(seconds_left)
        return job.report("failed", _why(job, error))

    def _read(self, job: Job) -> _Loaded:
        audio = io.read(job.source)
        wave, rate = audio.wave, audio.sample_rate
        if rate != self.sample_rate:
            wave = io.resample(wave, rate, self.sample_rate)
        return _Loaded(job, audio, wave, self.waves.level(wave))

    def _write(self, file: _Loaded, enhanced: np.ndarray, done: Progress) -> Report:
        """Resample enhanced samples to the source's rate, and write them."""
        job, audio, samples = file.job, file.audio, file.audio.wave.shape[1]
        if audio.sample_rate != self.sample_rate:
            enhanced = io.resample(enhanced, self.sample_rate, audio.sample_rate, samples=samples)
        wave = blend(enhanced, audio.wave, self.waves.wet)
        subtype = fitting_subtype(job.target, audio, self.subtype)
        like = {"bit_rate": audio.bit_rate, "tags": audio.tags}
        clipped = io.write(job.target, wave, audio.sample_rate, subtype, **like)
        seconds = samples / audio.sample_rate  # headers may be wrong
        done(seconds)
        limited = self._limited(file.level)
        return job.report("enhanced")._replace(seconds=seconds, clipped=clipped, limited=limited)

    def _enhance_long(self, job: Job, done: Progress) -> Report:
        """Enhance a long file, reading it twice: first for its length and level.

        Raises:
          _Stopped: when asked to stop; no partial file remains.
        """
        (source, target, header), rate, waves = job, self.sample_rate, self.waves
        meter, length, samples, clipped = LevelMeter(header.channels, rate), 0, 0, 0

        def counted() -> Iterator[np.ndarray]:
            nonlocal length
            for block in self._until_stopped(io.read_blocks(source)):
                length += block.shape[1]
                yield block

        for block in io.resample_blocks(counted(), header.sample_rate, rate):
            samples += block.shape[1]
            meter.put(block)
        if not waves.is_long(samples):  # shorter than its header claims
            file = self._read(job)
            return self._write(file, waves(file.wave, self.seed), done)

        subtype = fitting_subtype(target, header, self.subtype)
        like = {"bit_rate": header.bit_rate * header.samples / length, "tags": header.tags}
        with io.writing(target, header.sample_rate, header.channels, subtype, samples=length, **like) as put:
            blocks = io.resample_blocks(_as_long_as(source, length), header.sample_rate, rate)
            level = meter.level()
            enhanced = waves.long(blocks, samples, level, self.seed)
            dry = _Reader(source, header.channels) if waves.wet < 1 else None
            resampled = io.resample_blocks(enhanced, rate, header.sample_rate, length)
            for block in self._until_stopped(resampled):
                clipped += put(blend(block, dry.take(block.shape[1]), waves.wet) if dry else block)
                done(block.shape[1] / header.sample_rate)
        seconds, limited = length / header.sample_rate, self._limited(level)
        return job.report("enhanced")._replace(seconds=seconds, clipped=clipped, limited=limited)

    def _limited(self, level: Level) -> float:
        """Return the seconds of loud events, of the channel with most."""
        return round(float(np.max(level.limited)) / self.sample_rate, 3)

    def _until_stopped(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        for block in blocks:
            if self.stopped():
                raise _Stopped
            yield block


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
    stretches: Callable[[_Loaded], tuple[int, list[Stretch]]],
    rows: Callable[[int], int],
) -> Iterator[_Batch | Job | Report]:
    """Group channels of one padded length, up to a program's rows; pass on jobs and reports unchanged."""
    frames, items = 0, []
    for file in loaded:
        if not isinstance(file, _Loaded):
            if items and isinstance(file, Job):  # short files don't wait for a long one
                yield _Batch(frames, items)
                items = []
            yield file
            continue
        size, pieces = stretches(file)
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
    """Regroup batches' channels by file: float32 [channels, frames · hop], or the error.

    None, which means that no result is ready, is passed on.
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


class _Reader:
    """A file's samples in blocks of any size."""

    def __init__(self, source: Path, channels: int) -> None:
        self.blocks, self.rest = io.read_blocks(source), np.zeros((channels, 0), np.float32)

    def take(self, samples: int) -> np.ndarray:
        """Return the next samples, float32 [channels, samples]."""
        while self.rest.shape[1] < samples:
            self.rest = np.concatenate([self.rest, next(self.blocks)], axis=1)
        taken, self.rest = np.split(self.rest, [samples], axis=1)
        return taken


def _as_long_as(source: Path, samples: int) -> Iterator[np.ndarray]:
    """Yield a file's blocks; raise AudioError unless it still has `samples` samples."""
    changed = io.AudioError(f"{source}: changed while it was read; enhance it again")
    found = 0
    for block in io.read_blocks(source):
        found += block.shape[1]
        if found > samples:
            raise changed
        yield block
    if found < samples:
        raise changed
