"""Paired recordings and a model (or its output) -> a table of scores per file, and their summary."""

import csv
import dataclasses
import io as text_io
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import jax
import numpy as np

from rosecd_jax.audio import io
from rosecd_jax.inference.enhancer import Enhancer
from rosecd_jax.metrics import Scores, evaluate_pair
from rosecd_jax.workers import background_pool


@dataclasses.dataclass(frozen=True)
class FileResult:
    """One file of one method.

    Attributes:
      file: path below the clean folder.
      seconds: length of the recording.
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
        """Mean and standard deviation of each score over the files that have it."""
        table = np.array([result.scores for result in self.files], np.float64).reshape(
            -1, len(Scores._fields)
        )
        return {
            name: (float(column.mean()), float(column.std())) if column.size else (np.nan, np.nan)
            for name, values in zip(Scores._fields, table.T, strict=True)
            if (column := values[np.isfinite(values)]) is not None
        }

    @property
    def real_time_factor(self) -> float:
        """Seconds of computing per second of audio; nan for what was not enhanced here."""
        timed = [result for result in self.files if result.computing == result.computing]
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
    evaluations = []
    # Scores are computed in other processes while the next file is enhanced; on a CPU only afterwards, since
    # they would slow the enhancement, which is being timed.
    beside = jax.default_backend() != "cpu"
    with background_pool(max(1, (os.cpu_count() or 2) // 2)) as pool:
        for method, how in methods:
            if isinstance(how, Path):
                io.find(how)
            estimates, scores = [], []
            for estimate in _estimates(clean, noisy, names, how, seed):
                if output and isinstance(how, Enhancer) and estimate.wave is not None:
                    target = (Path(output) / method / estimate.name).with_suffix(".wav")
                    io.write(target, estimate.wave, estimate.sample_rate, subtype="FLOAT")
                estimates.append(estimate)
                if beside:
                    scores.append(pool.submit(_score, clean, noisy, estimate))
                if progress:
                    progress(method, len(estimates), len(names))
            scores = scores or [pool.submit(_score, clean, noisy, estimate) for estimate in estimates]
            files = tuple(_result(e, score.result()) for e, score in zip(estimates, scores, strict=True))
            evaluations.append(Evaluation(method, files))
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
    clean: Path, noisy: Path, names: Sequence[Path], how: Enhancer | Path | None, seed: int
) -> Iterator[_Estimate]:
    """The estimate of each file, or why there is none."""
    for name in names:
        try:
            source = how / name if isinstance(how, Path) else noisy / name
            audio = io.read(source if source.exists() else source.with_suffix(".wav"))
            wave, computing = audio.wave, float("nan")
            if isinstance(how, Enhancer):
                how.prepare(wave.shape[-1], audio.sample_rate)
                start = time.perf_counter()
                wave = how(wave, audio.sample_rate, seed=seed)
                computing = time.perf_counter() - start
            yield _Estimate(name, wave, audio.sample_rate, computing)
        except ValueError as error:
            yield _Estimate(name, None, 0, float("nan"), str(error))


def _score(clean: Path, noisy: Path, estimate: _Estimate) -> tuple[Scores, float, str]:
    """(scores, seconds, error) of one file; runs in a worker process."""
    nothing = Scores(*[float("nan")] * len(Scores._fields))
    if estimate.wave is None:
        return nothing, 0.0, estimate.error
    try:
        reference, mixture = io.read(clean / estimate.name), io.read(noisy / estimate.name)
        if not reference.sample_rate == mixture.sample_rate == estimate.sample_rate:
            rates = (reference.sample_rate, mixture.sample_rate, estimate.sample_rate)
            raise ValueError(f"{estimate.name}: rates differ (clean, noisy, enhanced: {rates})")
        if not reference.wave.shape == mixture.wave.shape == estimate.wave.shape:
            shapes = (reference.wave.shape, mixture.wave.shape, estimate.wave.shape)
            raise ValueError(f"{estimate.name}: shapes differ (clean, noisy, enhanced: {shapes})")
        channels = [
            evaluate_pair(*waves, reference.sample_rate)
            for waves in zip(reference.wave, mixture.wave, estimate.wave, strict=True)
        ]
    except ValueError as error:
        return nothing, 0.0, str(error)
    seconds = reference.wave.shape[-1] / reference.sample_rate
    return Scores(*(float(v) for v in np.mean(channels, axis=0))), seconds, ""


def _result(estimate: _Estimate, scored: tuple[Scores, float, str]) -> FileResult:
    scores, seconds, error = scored
    return FileResult(str(estimate.name), seconds, estimate.computing, scores, error)


def write_table(path: Path, evaluation: Evaluation) -> None:
    """The per-file results as CSV, under a temporary name first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = text_io.StringIO()
    rows = csv.writer(table)
    rows.writerow(["file", "seconds", "computing_seconds", *Scores._fields, "error"])
    for result in evaluation.files:
        rows.writerow([result.file, result.seconds, result.computing, *result.scores, result.error])
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_text(table.getvalue())
    os.replace(temporary, path)
