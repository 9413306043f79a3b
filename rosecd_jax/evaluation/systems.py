"""Scoring of models, or of their output, on paired recordings, per file and summarized."""

import dataclasses
import itertools
import math
import os
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from rosecd_jax.audio import io
from rosecd_jax.evaluation import estimates
from rosecd_jax.evaluation.cache import ScoreCache
from rosecd_jax.evaluation.scoring import Estimate, FileResult, Task, available, failed, score
from rosecd_jax.evaluation.tables import is_reverberant, write_table
from rosecd_jax.inference.enhancer import Enhancer
from rosecd_jax.metrics import USUAL
from rosecd_jax.processes import Job, Workers

Kind = Literal["noisy", "checkpoint", "folder"]
REVERBERANT = (
    "a reverberant set: delays and levels of its input are those of the rooms, not faults; SI-SIR and SI-SAR "
    "are meaningless, as they assume added noise"
)


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The results of one system ("noisy", a model, a folder of enhanced files) on all files.

    Attributes:
      method: the system's name.
      files: a result for each clean file.
      measures: names of the scores, in order.
      kind, source: kind of system, and its folder or checkpoint.
      settings: settings of a model's sampler.
      network_calls: a model's network calls for one signal; None for other systems.
      unpaired: files of its folder that are not used: no clean file has their stem, or another file of that
        stem has the clean file's suffix and is used instead.
      reverberant: whether the noisy files are reverberant ones made by `rosecd prepare`.
    """

    method: str
    files: tuple[FileResult, ...]
    measures: tuple[str, ...] = USUAL
    kind: Kind = "folder"
    source: str = ""
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    network_calls: int | None = None
    unpaired: tuple[str, ...] = ()
    reverberant: bool = False

    @property
    def errors(self) -> list[FileResult]:
        """The files that could not be scored."""
        return [result for result in self.files if result.error]

    @property
    def notes(self) -> list[str]:
        """Notes on swapped clean and noisy files, on the scores of single files, and on all files."""
        notes = [f"{result.file}: {result.note}" for result in self.files if result.note]
        swapped = [result.file for result in self.files if result.swapped]
        if swapped and self.kind == "noisy":
            which = f"{len(swapped)} of {len(self.files)} clean files are noisier than the noisy ones"
            notes.insert(0, f"{which}: swap them; `rosecd check` lists them")
        counts = Counter(result.noisy for result in self.files if result.noisy)
        for shared, count in counts.items() if self.kind == "noisy" else ():
            if count == 1:
                continue
            which = ", ".join(result.file for result in self.files if result.noisy == shared)
            notes.append(f"{which}: several clean files of the noisy file {shared}; keep one of them")
        if self.unpaired:
            listed = ", ".join(self.unpaired[:3]) + (", …" if len(self.unpaired) > 3 else "")
            which = f"{listed} ({len(self.unpaired)} in all)"
            notes.append(f"not scored, because no clean file is paired with them: {which}")
        if self.reverberant and self.kind == "noisy":
            return [*notes, REVERBERANT]
        shifted = [_shifted(self.files, 1, "late"), _shifted(self.files, -1, "early")]
        if how := " and ".join(filter(None, shifted)):
            notes.append(
                f"compared with the clean files, {how}, which lowers scores: shift each file by its delay in "
                "the table of --output"
                + (", unless reverberation that is left in it is the cause" if self.reverberant else "")
            )
        return notes

    def scores(self, name: str) -> np.ndarray:
        """Return a score of every file, float64 [files]; nan where it is undefined."""
        return np.array([result.measures.get(name, math.nan) for result in self.files], np.float64)

    def values(self, name: str) -> np.ndarray:
        """Return a score of all files for which it is defined, float64 [files]."""
        values = self.scores(name)
        return values[~np.isnan(values)]

    def summary(self) -> dict[str, tuple[float, float]]:
        """Return mean and standard deviation of each score over the files that have it; nan if none."""
        found = {}
        for name in self.measures:
            values = self.values(name)
            found[name] = (float(values.mean()), float(values.std())) if values.size else (np.nan, np.nan)
        return found

    @property
    def computing_seconds(self) -> tuple[float, float]:
        """Seconds of computation and of audio, over files with scores that were enhanced here."""
        timed = [result for result in self.files if not (result.error or math.isnan(result.computing))]
        return sum(result.computing for result in timed), sum(result.seconds for result in timed)

    @property
    def real_time_factor(self) -> float:
        """Seconds of computation per second of audio, over files with scores; nan if not enhanced here."""
        computing, audio = self.computing_seconds
        return computing / audio if audio else math.nan


def _shifted(files: Sequence[FileResult], sign: int, word: str) -> str:
    """Describe how many files are late (sign 1) or early (-1), and by how much; empty if none is."""
    found = [result for result in files if (result.delay or 0) * sign > 0]
    samples = [abs(result.delay or 0) for result in found]
    times = [1000 * delay / result.sample_rate for delay, result in zip(samples, found, strict=True)]
    if not found:
        return ""
    more = max(samples) > min(samples)
    one = "a sample" if samples[0] == 1 else f"{samples[0]} samples"
    span = f"{min(samples)} to {max(samples)} samples" if more else one
    time = f"{min(times):.2f} to {max(times):.2f} ms" if max(times) > min(times) else f"{times[0]:.2f} ms"
    return f"{len(found)} of {len(files)} files are {span} ({time}) {word}"


def evaluate(
    data: str | os.PathLike,
    methods: Sequence[tuple[str, Enhancer | Path | None]],
    *,
    output: str | os.PathLike | None = None,
    seed: int = 0,
    measures: Sequence[str] = USUAL,
    cache: ScoreCache | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[Evaluation]:
    """Score systems on a folder of paired recordings.

    Files are paired by their paths, with any suffix. A file that can't be scored, even if its scoring process
    dies, does not affect others.

    Args:
      data: folder with clean/ and noisy/.
      methods: (name, system), where system is an Enhancer, a folder of enhanced files, or None for the noisy
        input.
      output: folder for enhanced files (output/name/…, float WAV) and tables of all files (output/name.csv).
        Files that an earlier run enhanced there, with the same model from the same input, are kept.
      seed: seed of the samplers.
      measures: names of scores, keys of `metrics.MEASURES`.
      cache: cache of scores, keyed by the content of the files; None: no cache.
      progress: called with (method, files done, number of files).

    Returns:
      One Evaluation per method, in order.

    Raises:
      AudioError: if clean/, noisy/ or a method's folder is missing.
      ValueError: if a measure is unknown, or the enhanced files would be written among other audio files.
      ImportError: if a measure's package is missing. Without pesq, PESQ is left out, with a note.
    """
    available(measures)  # before the first file is enhanced
    data = Path(data)
    task = Task(data / "clean", data / "noisy", tuple(measures), cache, is_reverberant(data))
    names = [file.relative_to(task.clean) for file in io.find(task.clean)]
    io.find(task.noisy)
    if output:
        _check_output(Path(output), methods, (task.clean, task.noisy))
    evaluations = []
    with Workers(max(1, (os.cpu_count() or 2) // 2)) as pool:
        for method, system in methods:
            folder = Path(output) / method if output else None
            made = estimates.estimates(task.noisy, names, system, seed, folder)
            results: list[FileResult] = []
            for result in _score_all(pool, task, made):
                results.append(result)
                if progress:
                    progress(method, len(results), len(names))
            described = _describe(method, system, task, names)
            evaluations.append(Evaluation(method, tuple(results), tuple(measures), **described))
            if output:
                write_table(Path(output) / f"{method}.csv", results, measures)
    return evaluations


def _check_output(
    output: Path, methods: Sequence[tuple[str, Enhancer | Path | None]], inputs: Sequence[Path]
) -> None:
    """Raise ValueError if enhanced files would be written among the inputs or another program's files."""
    if output.exists() and not output.is_dir():
        raise ValueError(f"{output}: is a file; give a folder for the results")
    sources = [
        folder.resolve() for folder in (*inputs, *(one for _, one in methods if isinstance(one, Path)))
    ]
    for method, system in methods:
        folder = (output / method).resolve()
        if not isinstance(system, Enhancer) or not folder.exists():
            continue
        if any(source in (folder, *folder.parents) for source in sources):
            raise ValueError(f"{folder}: {method} would overwrite files of the input; give another --output")
        if not (folder / estimates.RECORD).exists() and any(map(io.is_audio, folder.rglob("*"))):
            raise ValueError(f"{folder}: holds audio of another source; move it, or give another --output")


def _score_all(pool: Workers, task: Task, made: Iterator[Estimate]) -> Iterator[FileResult]:
    """Yield the scores of estimates in order, computed in other processes.

    They are computed while the next files are enhanced. On a CPU the two alternate, in groups of files whose
    waves are in memory, since scoring would slow down the enhancement that is timed.
    """
    concurrent, most = jax.default_backend() != "cpu", 4 * pool.count
    group, ahead = (1, most) if concurrent else (most, 0)
    jobs: deque[Job[FileResult]] = deque()
    while enhanced := list(itertools.islice(made, group)):
        jobs.extend(pool.submit(score, task, estimate) for estimate in enhanced)
        del enhanced
        while len(jobs) > ahead:
            yield _result(pool, jobs.popleft())
    while jobs:
        yield _result(pool, jobs.popleft())


def _describe(
    method: str, system: Enhancer | Path | None, task: Task, names: Sequence[Path]
) -> dict[str, Any]:
    """Return an Evaluation's fields about its system and the set."""
    common = {"reverberant": task.reverberant}
    if system is None:
        return common | {"kind": "noisy", "unpaired": _unpaired(task.noisy, names)}
    if isinstance(system, Path):
        return common | {"kind": "folder", "source": str(system), "unpaired": _unpaired(system, names)}
    return common | {
        "kind": "checkpoint",
        "source": method,
        "settings": estimates.settings(system),
        "network_calls": system.sampler.network_calls,
    }


def _unpaired(folder: Path, names: Sequence[Path]) -> tuple[str, ...]:
    """List audio files of a folder that are not scored, because none is the counterpart of a clean file."""
    found = [file.relative_to(folder) for file in io.find(folder)]
    exact = set(names) & set(found)  # other files of these stems are not used
    stems = {name.with_suffix("") for name in names} - {name.with_suffix("") for name in exact}
    return tuple(str(name) for name in found if name not in exact and name.with_suffix("") not in stems)


def _result(workers: Workers, job: Job[FileResult]) -> FileResult:
    """Wait for the scores of a file; an error if its process died twice."""
    try:
        return workers.result(job)
    except BrokenProcessPool:
        estimate: Estimate = job.arguments[-1]
        problem = "two processes that scored it died; leave the file out"
        return failed(estimate, f"{estimate.name}: {problem}")
