"""Paired recordings and a model (or its output) -> a table of scores per file, and their summary."""

import csv
import dataclasses
import io as text_io
import itertools
import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path

import jax
import numpy as np

from rosecd_jax.atomic import write_text
from rosecd_jax.audio import io
from rosecd_jax.evaluation.pairing import counterpart
from rosecd_jax.evaluation.scoring import Estimate, FileResult, failed, score
from rosecd_jax.extras import extra
from rosecd_jax.inference.enhancer import Enhancer
from rosecd_jax.metrics import Scores
from rosecd_jax.processes import Job, Workers


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The results of one method ("noisy", a checkpoint, a folder) on all files."""

    method: str
    files: tuple[FileResult, ...]

    @property
    def errors(self) -> list[FileResult]:
        """The files that could not be scored."""
        return [result for result in self.files if result.error]

    @property
    def notes(self) -> list[str]:
        """What a reader of the scores has to know: of single files, then of all."""
        notes = [f"{result.file}: {result.note}" for result in self.files if result.note]
        shifted = [_shifted(self.files, 1, "late"), _shifted(self.files, -1, "early")]
        if how := " and ".join(filter(None, shifted)):
            notes.append(
                f"against the clean ones, {how}, which costs scores: shift each back by its delay, which the "
                "table of --output has"
            )
        return notes

    def values(self, name: str) -> np.ndarray:
        """A score of the files that have it, float64: without errors and what clean files leave undefined."""
        values = np.array([getattr(result.scores, name) for result in self.files], np.float64)
        return values[~np.isnan(values)]

    def summary(self) -> dict[str, tuple[float, float]]:
        """Mean and standard deviation of each score over the files that have it; nan if none has."""
        found = {}
        for name in Scores._fields:
            values = self.values(name)
            found[name] = (float(values.mean()), float(values.std())) if values.size else (np.nan, np.nan)
        return found

    @property
    def real_time_factor(self) -> float:
        """Seconds of computing per second of audio, of files with scores; nan if not enhanced here."""
        timed = [result for result in self.files if not (result.error or math.isnan(result.computing))]
        audio = sum(result.seconds for result in timed)
        return sum(result.computing for result in timed) / audio if audio else float("nan")


def _shifted(files: Sequence[FileResult], sign: int, word: str) -> str:
    """How many files are late (sign 1) or early (-1), and by how much; empty if none is."""
    found = [result for result in files if (result.delay or 0) * sign > 0]
    samples = [abs(result.delay or 0) for result in found]
    times = [1000 * delay / result.sample_rate for delay, result in zip(samples, found, strict=True)]
    if not found:
        return ""
    more = max(samples) > min(samples)
    span = f"{min(samples)} to {max(samples)} samples" if more else f"{samples[0]} samples"
    time = f"{min(times):.2f} to {max(times):.2f} ms" if max(times) > min(times) else f"{times[0]:.2f} ms"
    return f"{len(found)} of {len(files)} files are {span} ({time}) {word}"


def evaluate(
    data: str | os.PathLike,
    methods: Sequence[tuple[str, Enhancer | Path | None]],
    *,
    output: str | os.PathLike | None = None,
    seed: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[Evaluation]:
    """Score methods on a folder of paired recordings.

    Files belong together by their paths, with any suffix. A file that can't be scored costs its own scores
    alone, also if the process dies that scores it.

    Args:
      data: holds clean/ and noisy/.
      methods: (name, how) where how is an Enhancer, a folder of files already enhanced, or None for the noisy
        input itself.
      output: a folder for enhanced files (output/name/…, float wav) and per-file tables (output/name.csv).
      seed: of the samplers.
      progress: called with (method, files done, files in all).

    Returns:
      One Evaluation a method, in order.

    Raises:
      AudioError: if clean/ or noisy/ is missing, or a method's folder is.
      ImportError: without the package pystoi. Without pesq there is no PESQ, which is noted.
    """
    with extra("eval", "evaluation"):  # here, and not when the first file has been enhanced
        import pystoi  # noqa: F401
    clean, noisy = Path(data) / "clean", Path(data) / "noisy"
    names = [file.relative_to(clean) for file in io.find(clean)]
    io.find(noisy)
    workers = max(1, (os.cpu_count() or 2) // 2)
    # Scores are computed in other processes while the next files are enhanced; on a CPU in turn with them,
    # since they would slow the enhancement, which is being timed. The waves of so many files are in memory.
    beside, most = jax.default_backend() != "cpu", 4 * workers
    group, ahead = (1, most) if beside else (most, 0)
    evaluations = []
    with Workers(workers) as pool:
        for method, how in methods:
            if isinstance(how, Path):
                io.find(how)
            kept = Path(output) / method if output and isinstance(how, Enhancer) else None
            told = partial(progress, method) if progress else None
            estimates = _estimates(clean, noisy, names, how, seed, kept, told)
            jobs: deque[Job[FileResult]] = deque()
            results: list[FileResult] = []
            while enhanced := list(itertools.islice(estimates, group)):
                jobs.extend(pool.submit(score, clean, noisy, estimate) for estimate in enhanced)
                while len(jobs) > ahead:
                    results.append(_result(pool, jobs.popleft()))
            results += [_result(pool, job) for job in jobs]
            evaluations.append(Evaluation(method, tuple(results)))
            if output:
                write_table(Path(output) / f"{method}.csv", evaluations[-1])
    return evaluations


def _estimates(
    clean: Path,
    noisy: Path,
    names: Sequence[Path],
    how: Enhancer | Path | None,
    seed: int,
    kept: Path | None,
    progress: Callable[[int, int], None] | None,
) -> Iterator[Estimate]:
    """The estimate of each file, written into the folder `kept`, or why there is none."""
    for done, name in enumerate(names, start=1):
        try:
            made = isinstance(how, Path)
            audio = _read_estimate(counterpart(how, name)) if made else io.read(counterpart(noisy, name))
            wave, computing = audio.wave, float("nan")
            if isinstance(how, Enhancer):
                how.prepare(wave.shape[-1], audio.sample_rate, len(wave))
                start = time.perf_counter()
                wave = how(wave, audio.sample_rate, seed=seed)
                computing = time.perf_counter() - start
            estimate = Estimate(name, wave, audio.sample_rate, computing)
        except ValueError as error:
            estimate = Estimate(name, None, 0, float("nan"), str(error))
        if kept and estimate.wave is not None:
            target = (kept / name).with_suffix(".wav")
            io.write(target, estimate.wave, estimate.sample_rate, subtype="FLOAT")
        if progress:
            progress(done, len(names))
        yield estimate


def _read_estimate(path: Path) -> io.Audio:
    """An enhanced file; NaN all over if a sample is not finite, so that it has the worst scores."""
    try:
        return io.read(path)
    except io.NotFiniteError:
        header = io.info(path)
        wave = np.full((header.channels, header.samples), np.nan, np.float32)
        return io.Audio(wave, header.sample_rate, header.subtype, header.format)


def _result(workers: Workers, job: Job[FileResult]) -> FileResult:
    """The scores of a file, or that they can't be computed."""
    try:
        return workers.result(job)
    except BrokenProcessPool:
        estimate: Estimate = job.arguments[-1]
        words = "the process that scored it died, and so did another; leave the file out"
        return failed(estimate, f"{estimate.name}: {words}")


def write_table(path: Path, evaluation: Evaluation) -> None:
    """The per-file results as CSV, complete or not at all."""
    table = text_io.StringIO()
    rows = csv.writer(table)
    rows.writerow(["file", "seconds", "computing_seconds", *Scores._fields, "error", "note", "delay"])
    for result in evaluation.files:
        words = result.error, result.note, result.delay
        rows.writerow([result.file, result.seconds, result.computing, *result.scores, *words])
    write_text(path, table.getvalue())
