"""Scoring of one file, in a worker process."""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rosecd_jax.audio import io
from rosecd_jax.evaluation.cache import ScoreCache, content_key
from rosecd_jax.evaluation.check.facts import Relation, dynamics, relate
from rosecd_jax.evaluation.pairing import counterpart, delay, fit
from rosecd_jax.extras import remedy
from rosecd_jax.metrics import MEASURES, USUAL, Scores, families, measure

LEVEL_DB = 3.0
OF_LEVEL = "seg_snr", "lsd"  # measures that count a wrong level
OFFSET = 0.1  # minimum constant offset of an estimate, relative to its standard deviation
UNLIKE = "too unlike the clean file to measure a delay: another recording, or far off in time"
LEAST_SNR_DB = -6.0  # minimum to measure the level of the speech in the noisy file


@dataclasses.dataclass(frozen=True)
class FileResult:
    """The result of one system for one file.

    Attributes:
      file: path relative to the clean folder.
      seconds: length of the recording; 0 if `error` is set.
      computing: seconds of enhancement, without compilation; nan if it was not enhanced here.
      measures: scores by name, each the mean over the channels that have one, see `metrics.measure`; empty
        if `error` is set.
      error: reason for missing scores.
      note: a remark on the scores, for example that they are the worst possible.
      delay: samples by which the estimate lags the clean file, in halves; None if it could not be determined.
      sample_rate: Hz; 0 if `error` is set.
      snr: SNR of the noisy input, dB; nan if undefined.
      swapped: whether the clean file is the noisy one plus noise.
      noisy, estimate: the noisy file and the estimate's, each relative to its folder.
    """

    file: str
    seconds: float
    computing: float
    measures: dict[str, float] = dataclasses.field(default_factory=dict)
    error: str = ""
    note: str = ""
    delay: float | None = None
    sample_rate: int = 0
    snr: float = math.nan
    swapped: bool = False
    noisy: str = ""
    estimate: str = ""

    @property
    def scores(self) -> Scores:
        """The usual scores; nan where one was not computed."""
        return Scores(*(self.measures.get(name, math.nan) for name in USUAL))


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A file's enhanced wave, float32 [channels, samples], or `error`.

    Attributes:
      name: path of the clean file, relative to its folder.
      computing: seconds; nan if it was not enhanced here.
      file: path of the estimate, relative to its system's folder.
    """

    name: Path
    wave: np.ndarray | None
    sample_rate: int
    computing: float
    error: str = ""
    file: str = ""


class Task(NamedTuple):
    """Arguments common to all files: folders, names of measures, cache; whether the input is reverberant."""

    clean: Path
    noisy: Path
    names: tuple[str, ...] = USUAL
    cache: ScoreCache | None = None
    reverberant: bool = False


def score(task: Task, estimate: Estimate) -> FileResult:
    """Score an estimate against its files in the clean and noisy folders."""
    name = str(estimate.name)
    try:
        if estimate.wave is None:
            raise ValueError(estimate.error)
        partner = counterpart(task.noisy, estimate.name)
        reference, mixture = io.read(task.clean / estimate.name), io.read(partner)
        waves = reference.wave, mixture.wave, estimate.wave
        waves, cut = fit(name, waves, (reference.sample_rate, mixture.sample_rate, estimate.sample_rate))
    except ValueError as error:
        return failed(estimate, str(error))
    rate, enhanced = reference.sample_rate, waves[2]
    found = [_scores(task, channel, rate) for channel in zip(*waves, strict=True)]
    scores = {name: _mean([one[name] for one in found]) for name in found[0]}
    notes = [cut] if cut else []
    if "pesq" in task.names and "pesq" not in scores:
        notes.append(f"no PESQ: it needs the package pesq ({remedy('eval')}, with a C compiler)")
    if undefined := [name for name, value in scores.items() if math.isnan(value)]:
        notes.append(f"undefined for the clean file: {', '.join(undefined)}; excluded for every method")
    worst = [name for name in scores if _is_worst(name, [one.get(name, math.nan) for one in found])]
    if worst:
        why = "" if np.ptp(enhanced) else ": it is constant"
        if not np.isfinite(enhanced).all():
            why = ": it holds NaN or infinite samples"
        notes.append(f"the estimate has the worst possible {', '.join(worst)}{why}")
    is_room = task.reverberant and np.array_equal(waves[1], enhanced)  # the input itself
    clean, noisy = (wave.ravel() for wave in waves[:2])
    relation = relate(clean, noisy, rate)
    swapped = bool(relation and relation.is_swapped(dynamics(clean, rate), dynamics(noisy, rate)))
    late, faults = _channel_notes(waves[0], enhanced, rate, None if swapped else task.names)
    notes += [] if is_room else faults
    if relation and not (swapped or task.reverberant) and (note := _level_note(relation)):
        notes.append(note)
    return FileResult(
        name,
        seconds=enhanced.shape[-1] / rate,
        computing=estimate.computing,
        measures={name: scores.get(name, math.nan) for name in task.names},
        note="; ".join(notes),
        delay=late,
        sample_rate=rate,
        snr=_snr(*waves[:2]),
        swapped=swapped,
        noisy=partner.relative_to(task.noisy).as_posix(),
        estimate=estimate.file,
    )


def failed(estimate: Estimate, error: str) -> FileResult:
    """Return the result of a file without scores."""
    return FileResult(str(estimate.name), 0.0, estimate.computing, error=error)


def available(names: Sequence[str]) -> list[str]:
    """Return the measures whose packages are installed; raise ImportError if any but PESQ's is missing."""
    found = []
    for family in families(names):
        wanted = [one.name for one in family.measures if one.name in names]
        if not family.missing:
            found += wanted
        elif set(wanted) != {"pesq"}:
            extra, missing = family.extra or "eval", ", ".join(family.missing)
            raise ImportError(f"{', '.join(wanted)} needs {missing}: {remedy(extra)}")
    return found


def _scores(task: Task, waves: tuple[np.ndarray, ...], rate: int) -> dict[str, float]:
    """Compute the scores of one channel, family by family, or read them from the cache."""
    scores: dict[str, float] = {}
    names = available(task.names)
    for family in families(names):
        members = [one.name for one in family.measures]
        versions = [f"{package} {version}" for package, version in family.versions.items()]
        key = content_key([*members, *versions, str(rate)], waves) if task.cache else ""
        values = task.cache.get(key) if task.cache else None
        if values is None:
            values = list(measure(members, *waves, sample_rate=rate).values())
            if task.cache:
                task.cache.put(key, values)
        scores |= zip(members, values, strict=True)
    return {name: scores[name] for name in names}


def _is_worst(name: str, values: Sequence[float]) -> bool:
    """Return whether a channel has the worst score of a measure with a better side."""
    return MEASURES[name].better != "" and MEASURES[name].worst in values


def _snr(clean: np.ndarray, noisy: np.ndarray) -> float:
    """Compute the SNR in dB over all channels; nan if clean wave or noise is silent."""
    speech, noise = (float(np.sum(np.square(wave, dtype=np.float64))) for wave in (clean, noisy - clean))
    return 10 * math.log10(speech / noise) if speech > 0 and noise > 0 else math.nan


def _channel_notes(
    clean: np.ndarray, enhanced: np.ndarray, rate: int, measures: Sequence[str] | None
) -> tuple[float | None, list[str]]:
    """Return the largest delay of an estimate's channels, and notes on them; both waves [channels, samples].

    Silent channels of the clean file are skipped. Without `measures`, only unlike channels are noted.
    """
    delays: list[float] = []
    notes: list[list[str]] = []
    for reference, estimate in zip(clean, enhanced, strict=True):
        found: list[str] = []
        notes.append(found)
        if not np.ptp(reference):
            continue
        late = delay(reference, np.nan_to_num(estimate), rate)
        delays += [] if late is None else [late]
        if np.isfinite(enhanced).all() and np.ptp(enhanced):
            if not np.ptp(estimate):
                found.append("the estimate is constant")
            elif late is None:
                found.append(UNLIKE)
            if measures is not None:
                found += _faults(reference, estimate, late, measures)
    late = max(delays, key=abs, default=None)
    if all(found == notes[0] for found in notes):
        return late, notes[0]
    return late, [f"channel {i}: {note}" for i, found in enumerate(notes, 1) for note in found]


def _faults(
    clean: np.ndarray, estimate: np.ndarray, late: float | None, measures: Sequence[str]
) -> Iterator[str]:
    """Yield notes on an estimate [samples] that is the clean file, inverted, at another level, or offset."""
    if np.array_equal(clean, estimate):
        yield "the estimate equals the clean file"
    if late is not None:
        late = round(late)
        ahead, end = max(0, -late), clean.size - max(0, late)
        spoken = clean[ahead:end]
        gain = float(np.dot(spoken, estimate[ahead + late : end + late]) / (np.dot(spoken, spoken) or 1.0))
        if gain < 0:
            yield "the estimate is inverted: the measures differ in whether that counts; negate it"
        level, wrong = 20 * math.log10(abs(gain) or 1.0), [name for name in OF_LEVEL if name in measures]
        if wrong and abs(level) > 2 * LEVEL_DB:
            how = f"{abs(level):.1f} dB {'louder' if level > 0 else 'fainter'} than in the clean file"
            yield f"speech is {how}, which lowers {', '.join(wrong)}"
    means = [abs(float(wave.mean(dtype=np.float64))) for wave in (clean, estimate)]
    if means[0] > OFFSET * float(clean.std(dtype=np.float64)):
        yield f"the clean file has a constant offset of {means[0]:.2f}; scores are wrong until it is removed"
    if means[1] > OFFSET * float(estimate.std(dtype=np.float64)) > 0 and means[1] > 2 * means[0]:
        yield f"the estimate has a constant offset of {means[1]:.2f}, which lowers scores: subtract its mean"


def _level_note(relation: Relation) -> str:
    """Return a note if the speech in the noisy file is much louder or fainter than in the clean one."""
    if relation.snr_db < LEAST_SNR_DB:
        return ""
    gain = 20 * math.log10(abs(relation.gain))
    if abs(gain) < LEVEL_DB:
        return ""
    louder = f"{abs(gain):.1f} dB {'louder' if gain > 0 else 'fainter'}"
    return f"speech is {louder} in the noisy file than in the clean one: SI-SIR and SI-SAR are meaningless"


def _mean(values: Sequence[float]) -> float:
    """Average the values that are not nan; nan if all are."""
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan
