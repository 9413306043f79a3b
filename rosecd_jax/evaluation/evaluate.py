"""Paired recordings and a model (or its output) -> a table of scores per file, and their summary."""

import csv
import dataclasses
import io as text_io
import itertools
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from functools import partial
from pathlib import Path

import jax
import numpy as np

from rosecd_jax.audio import io
from rosecd_jax.files import write_text
from rosecd_jax.inference.enhancer import Enhancer
from rosecd_jax.metrics import Scores, evaluate_pair
from rosecd_jax.workers import background_pool


@dataclasses.dataclass(frozen=True)
class FileResult:
    """One file of one method.

    Attributes:
      file: path below the clean folder.
      seconds: length of the recording; 0 if `error` is set.
      computing: seconds it took to enhance it, compiling excluded; nan if it was not enhanced here.
      scores: mean over channels; all nan if `error` is set.
      error: why there are no scores.
    """

    file: str
    seconds: float
    computing: float
    scores: Scores
    error: str = ""


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The results of one method ("noisy", a checkpoint, a folder) on all files."""

    method: str
    files: tuple[FileResult, ...]

    @property
    def errors(self) -> list[FileResult]:
        """The files that could not be scored."""
        return [result for result in self.files if result.error]

    def summary(self) -> dict[str, tuple[float, float]]:
        """Mean and standard deviation of each score over the files that have it; nan if none has."""
        found = {}
        for name in Scores._fields:
            values = np.array([getattr(result.scores, name) for result in self.files], np.float64)
            values = values[np.isfinite(values)]
            found[name] = (float(values.mean()), float(values.std())) if values.size else (np.nan, np.nan)
        return found

    @property
    def real_time_factor(self) -> float:
        """Seconds of computing per second of audio, of files with scores; nan if not enhanced here."""
        timed = [result for result in self.files if not (result.error or math.isnan(result.computing))]
        audio = sum(result.seconds for result in timed)
        return sum(result.computing for result in timed) / audio if audio else float("nan")


def evaluate(
    data: str | os.PathLike,
    methods: Sequence[tuple[str, Enhancer | Path | None]],
    *,
    output: str | os.PathLike | None = None,
    seed: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[Evaluation]:
    """Score methods on a folder of paired recordings.

    Args:
      data: holds clean/ and noisy/ with the same relative paths.
      methods: (name, how) where how is an Enhancer, a folder of files already enhanced, or None for the noisy
        input itself.
      output: a folder for enhanced files (output/name/…, float wav) and per-file tables (output/name.csv).
      seed: of the samplers.
      progress: called with (method, files done, files in all).

    Returns:
      One Evaluation a method, in order.

    Raises:
      AudioError: if clean/ or noisy/ is missing, or a method's folder is.
    """
    clean, noisy = Path(data) / "clean", Path(data) / "noisy"
    names = [file.relative_to(clean) for file in io.find(clean)]
    io.find(noisy)
    workers = max(1, (os.cpu_count() or 2) // 2)
    # Scores are computed in other processes while the next files are enhanced; on a CPU in turn with them,
    # since they would slow the enhancement, which is being timed. The waves of so many files are in memory.
    beside, most = jax.default_backend() != "cpu", 4 * workers
    group, ahead = (1, most) if beside else (most, 0)
    evaluations = []
    with background_pool(workers) as pool:
        for method, how in methods:
            if isinstance(how, Path):
                io.find(how)
            kept = Path(output) / method if output and isinstance(how, Enhancer) else None
            told = partial(progress, method) if progress else None
            estimates = _estimates(clean, noisy, names, how, seed, kept, told)
            results: list[Future[FileResult]] = []
            while enhanced := list(itertools.islice(estimates, group)):
                results += [pool.submit(_score, clean, noisy, estimate) for estimate in enhanced]
                wait(results[: len(results) - ahead])
            evaluations.append(Evaluation(method, tuple(result.result() for result in results)))
            if output:
                write_table(Path(output) / f"{method}.csv", evaluations[-1])
    return evaluations


@dataclasses.dataclass(frozen=True)
class _Estimate:
    name: Path
    wave: np.ndarray | None
    sample_rate: int
    computing: float
    error: str = ""


def _estimates(
    clean: Path,
    noisy: Path,
    names: Sequence[Path],
    how: Enhancer | Path | None,
    seed: int,
    kept: Path | None,
    progress: Callable[[int, int], None] | None,
) -> Iterator[_Estimate]:
    """The estimate of each file, written into the folder `kept`, or why there is none."""
    for done, name in enumerate(names, start=1):
        try:
            source = how / name if isinstance(how, Path) else noisy / name
            audio = io.read(source if source.exists() else source.with_suffix(".wav"))
            wave, computing = audio.wave, float("nan")
            if isinstance(how, Enhancer):
                how.prepare(wave.shape[-1], audio.sample_rate, len(wave))
                start = time.perf_counter()
                wave = how(wave, audio.sample_rate, seed=seed)
                computing = time.perf_counter() - start
            estimate = _Estimate(name, wave, audio.sample_rate, computing)
        except ValueError as error:
            estimate = _Estimate(name, None, 0, float("nan"), str(error))
        if kept and estimate.wave is not None:
            target = (kept / name).with_suffix(".wav")
            io.write(target, estimate.wave, estimate.sample_rate, subtype="FLOAT")
        if progress:
            progress(done, len(names))
        yield estimate


def _score(clean: Path, noisy: Path, estimate: _Estimate) -> FileResult:
    """Runs in a worker process."""
    name, computing = str(estimate.name), estimate.computing
    try:
        if estimate.wave is None:
            raise ValueError(estimate.error)
        reference, mixture = io.read(clean / estimate.name), io.read(noisy / estimate.name)
        if not reference.sample_rate == mixture.sample_rate == estimate.sample_rate:
            rates = (reference.sample_rate, mixture.sample_rate, estimate.sample_rate)
            raise ValueError(f"{name}: rates differ (clean, noisy, enhanced: {rates})")
        if not reference.wave.shape == mixture.wave.shape == estimate.wave.shape:
            shapes = (reference.wave.shape, mixture.wave.shape, estimate.wave.shape)
            raise ValueError(f"{name}: shapes differ (clean, noisy, enhanced: {shapes})")
        channels = [
            evaluate_pair(*waves, reference.sample_rate)
            for waves in zip(reference.wave, mixture.wave, estimate.wave, strict=True)
        ]
    except ValueError as error:
        return FileResult(name, 0.0, computing, Scores(*[float("nan")] * len(Scores._fields)), str(error))
    seconds = reference.wave.shape[-1] / reference.sample_rate
    return FileResult(name, seconds, computing, Scores(*map(float, np.mean(channels, axis=0))))


def write_table(path: Path, evaluation: Evaluation) -> None:
    """The per-file results as CSV, complete or not at all."""
    table = text_io.StringIO()
    rows = csv.writer(table)
    rows.writerow(["file", "seconds", "computing_seconds", *Scores._fields, "error"])
    for result in evaluation.files:
        rows.writerow([result.file, result.seconds, result.computing, *result.scores, result.error])
    write_text(path, table.getvalue())
