"""The scores of one file, computed in a worker process."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rosecd_jax.audio import io
from rosecd_jax.evaluation.pairing import counterpart, delay, fit
from rosecd_jax.extras import remedy
from rosecd_jax.metrics import WORST, Scores, evaluate_pair, pesq_is_installed


@dataclasses.dataclass(frozen=True)
class FileResult:
    """One file of one method.

    Attributes:
      file: path below the clean folder.
      seconds: length of the recording; 0 if `error` is set.
      computing: seconds it took to enhance it, compiling excluded; nan if it was not enhanced here.
      scores: mean over the channels that have one, see `metrics.evaluate_pair`; all nan if `error` is set.
      error: why there are no scores.
      note: what a reader of the scores has to know, such as that they are the worst there are.
      delay: samples by which the estimate is late against the clean file; None if it could not be found.
      sample_rate: Hz; 0 if `error` is set.
    """

    file: str
    seconds: float
    computing: float
    scores: Scores
    error: str = ""
    note: str = ""
    delay: int | None = None
    sample_rate: int = 0


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A file's enhanced wave, float32 [channels, samples], or why there is none; `computing`: seconds."""

    name: Path
    wave: np.ndarray | None
    sample_rate: int
    computing: float
    error: str = ""


def score(clean: Path, noisy: Path, estimate: Estimate) -> FileResult:
    """Score an estimate against its files in two folders."""
    name = str(estimate.name)
    try:
        if estimate.wave is None:
            raise ValueError(estimate.error)
        reference, mixture = io.read(clean / estimate.name), io.read(counterpart(noisy, estimate.name))
        waves = reference.wave, mixture.wave, estimate.wave
        waves, cut = fit(name, waves, (reference.sample_rate, mixture.sample_rate, estimate.sample_rate))
    except ValueError as error:
        return failed(estimate, str(error))
    rate, enhanced = reference.sample_rate, waves[2]
    found = [evaluate_pair(*channel, sample_rate=rate) for channel in zip(*waves, strict=True)]
    scores = Scores(*map(_mean, zip(*found, strict=True)))
    notes = [cut] if cut else []
    missing = [field for field in Scores._fields if math.isnan(getattr(scores, field))]
    if "pesq" in missing and not pesq_is_installed():
        missing.remove("pesq")
        notes.append(f"no PESQ: it needs the package pesq ({remedy('eval')}, with a C compiler)")
    if missing:
        notes.append(f"the clean file defines no {', '.join(missing)}: left out for every method")
    if worst := [field for i, field in enumerate(Scores._fields) if WORST[i] in {one[i] for one in found}]:
        why = "" if np.ptp(enhanced) else ": it is constant"
        if not np.isfinite(enhanced).all():
            why = ": it holds NaN or infinite samples"
        notes.append(f"the estimate has the worst {', '.join(worst)} there is{why}")
    late = delay(waves[0][0], np.nan_to_num(enhanced[0]), rate)
    seconds, note = enhanced.shape[-1] / rate, "; ".join(notes)
    return FileResult(name, seconds, estimate.computing, scores, note=note, delay=late, sample_rate=rate)


def failed(estimate: Estimate, error: str) -> FileResult:
    """The result of a file that has no scores."""
    return FileResult(str(estimate.name), 0.0, estimate.computing, Scores(*[math.nan] * 5), error)


def _mean(values: Sequence[float]) -> float:
    """Of those that are not nan; nan if none is."""
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan
