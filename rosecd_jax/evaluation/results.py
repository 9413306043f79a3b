"""results.json: the results of an evaluation, reproducible for the same files and systems."""

import importlib.metadata
import json
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rosecd_jax.atomic import write_text
from rosecd_jax.config import plain_json
from rosecd_jax.evaluation.statistics import mean_interval, paired_difference, snr_group
from rosecd_jax.evaluation.systems import Evaluation
from rosecd_jax.evaluation.tables import OtherScores, stem
from rosecd_jax.metrics import FAMILIES, MEASURES, Measure

RESULTS, TIMES = "results.json", "times.json"
FORMAT = 1
MOST_GROUPS = 40  # maximum number of values of a manifest's column that groups files


def build_results(
    data: Path,
    evaluations: Sequence[Evaluation],
    *,
    baseline: str = "",
    manifest: Mapping[str, Mapping[str, str]] | None = None,
    others: Sequence[OtherScores] = (),
    published: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Build the content of results.json, see docs/evaluation.md.

    Args:
      data: folder with clean/ and noisy/.
      evaluations: evaluations of the systems on the same files.
      baseline: the system that the others are compared with; "" for the first.
      manifest: columns of each file, by its name without suffix.
      others: scores of other tools.
      published: systems of papers: {"name": ..., "source": ..., measure: value, ...}; those with
        "network_calls" and "test_set": "VoiceBank-DEMAND" are also drawn in that set's charts.

    Raises:
      ValueError: if the baseline is not in the evaluation, or by `check_scores` and `check_manifest`.
    """
    names = [evaluation.method for evaluation in evaluations]
    baseline = baseline or names[0]
    if baseline not in names:
        raise ValueError(f"baseline {baseline!r}: no such system; there are {', '.join(names)}")
    files = [result.file for result in evaluations[0].files]
    computed = evaluations[0].measures
    check_scores(others, files, names, computed)
    if manifest:
        check_manifest(manifest, files)
    measures = {name: MEASURES[name] for name in computed} | _measures(others)
    table = _table(evaluations, files, measures, others)
    columns = _columns(files, manifest or {})
    first = {result.file: result for result in evaluations[0].files}
    return {
        "format": FORMAT,
        "data": str(data),
        "clean": str(data / "clean"),
        "noisy": str(data / "noisy"),
        "versions": _versions(computed),
        "measures": [
            {"name": m.name, "title": m.title, "unit": m.unit, "digits": m.digits, "better": m.better}
            | {"note": m.source}
            for m in measures.values()
        ],
        "baseline": baseline,
        "systems": [_system(one, table, measures, baseline) for one in evaluations],
        "groups": _groups(names, files, [first[file].snr for file in files], columns, table, measures),
        "columns": list(columns),
        "published": [dict(system) for system in published],
        "files": [_file(i, file, evaluations, columns, table, measures) for i, file in enumerate(files)],
    }


def check_scores(
    others: Sequence[OtherScores], files: Sequence[str], systems: Collection[str], computed: Collection[str]
) -> None:
    """Check scores of other tools; needs only the names of an evaluation's files, systems and measures.

    Raises:
      ValueError: if a system or file is not in the evaluation, a metric is called like a computed measure or
        has two directions of improvement, or a score is infinite or given twice.
    """
    stems, first, given = {stem(file) for file in files}, {}, {}
    for measure, system, values in others:
        where = f"{measure.name} of {system}, {measure.source}"
        if system not in systems:
            raise ValueError(f"{where}: no such system; there are {', '.join(systems)}")
        if measure.name in computed:
            raise ValueError(f"{where}: is also computed here; rename the metric, or omit it from --metrics")
        earlier = first.setdefault(measure.name, measure)
        if measure.better != earlier.better:
            how = f"better is {measure.better}, but {earlier.better} {earlier.source}"
            raise ValueError(f"{where}: {how}; give one for all rows (an empty cell means higher)")
        for name, value in values.items():
            if name not in stems:
                raise ValueError(f"{where}: no such file as {name}; names are relative to the clean folder")
            if math.isinf(value):
                raise ValueError(f"{where}: {name} has the value {value}; give a finite number, or nan")
            if (key := (measure.name, system, name)) in given:
                raise ValueError(f"{where}: a second {measure.name} of {name}, also {given[key]}; remove one")
            given[key] = measure.source


def check_manifest(manifest: Mapping[str, Any], files: Sequence[str]) -> str:
    """Return a note if files are not in the manifest; "" if all are.

    Raises:
      ValueError: if none is.
    """
    missing = [file for file in files if stem(file) not in manifest]
    if not missing:
        return ""
    if len(missing) == len(files):
        found = f"has {next(iter(manifest))}, but not {missing[0]}" if manifest else "has no rows"
        raise ValueError(f"no file is in the manifest, which {found}; names are relative to the clean folder")
    return f"{len(missing)} of {len(files)} files are not in the manifest, such as {missing[0]}"


def _measures(others: Sequence[OtherScores]) -> dict[str, Measure]:
    """Return the measures of other tools, each with all its sources."""
    sources: dict[str, dict[str, None]] = {}
    for measure, _, _ in others:
        sources.setdefault(measure.name, {})[measure.source] = None
    return {one.name: one._replace(source=", ".join(sources[one.name])) for one, _, _ in others}


Table = Mapping[str, Mapping[str, np.ndarray]]
"""system -> measure -> scores float64 [files]."""


def _table(
    evaluations: Sequence[Evaluation],
    files: Sequence[str],
    measures: Mapping[str, Measure],
    others: Sequence[OtherScores],
) -> dict[str, dict[str, np.ndarray]]:
    table = {one.method: {name: one.scores(name) for name in measures} for one in evaluations}
    places = {stem(file): i for i, file in enumerate(files)}
    for measure, system, values in others:
        for name, value in values.items():
            table[system][measure.name][places[name]] = value
    return table


def _system(one: Evaluation, table: Table, measures: Mapping[str, Measure], baseline: str) -> dict[str, Any]:
    rows = table[one.method]
    differences = {
        name: paired_difference(rows[name], table[baseline][name], m.better)._asdict()
        for name, m in measures.items()
    }
    return {
        "name": one.method,
        "kind": one.kind,
        "source": one.source,
        "settings": one.settings,
        "network_calls": one.network_calls,
        "files": {"noisy": "", "folder": one.source, "checkpoint": one.method}[one.kind],
        "summary": {name: _summary(rows[name], m) for name, m in measures.items()},
        "difference": None if one.method == baseline else differences,
        "notes": one.notes,
        "errors": [result.error for result in one.errors],
    }


def _summary(values: np.ndarray, measure: Measure) -> dict[str, Any]:
    """Compute mean, interval within the measure's limits, standard deviation and number of files."""
    found = mean_interval(values)._asdict()
    lowest, highest = sorted((measure.worst, measure.best))
    return found | {"low": max(found["low"], lowest), "high": min(found["high"], highest)}


def _columns(files: Sequence[str], manifest: Mapping[str, Mapping[str, str]]) -> dict[str, list[str]]:
    """Return the manifest's columns, a cell for each file; "" for files not in the manifest."""
    names = dict.fromkeys(name for row in manifest.values() for name in row)
    return {name: [manifest.get(stem(file), {}).get(name, "") for file in files] for name in names}


def _groups(
    names: Sequence[str],
    files: Sequence[str],
    snrs: Sequence[float],
    columns: Mapping[str, Sequence[str]],
    table: Table,
    measures: Mapping[str, Measure],
) -> list[dict[str, Any]]:
    """Summarize by input SNR, and by each column of the manifest with few values."""
    by_snr = [snr_group(snr) for snr in snrs]
    order = [
        label for _, label in sorted((snr, label) for snr, label in zip(snrs, by_snr, strict=True) if label)
    ]
    divisions = {"snr": (by_snr, list(dict.fromkeys(order)))}
    for name, cells in columns.items():
        labels = _ordered({cell for cell in cells if cell})
        if 2 <= len(labels) <= MOST_GROUPS:
            divisions[name] = (list(cells), labels)
    groups = []
    for by, (cells, labels) in divisions.items():
        for label in labels:
            chosen = np.array([cell == label for cell in cells])
            systems = {
                name: {key: _summary(table[name][key][chosen], m) for key, m in measures.items()}
                for name in names
            }
            groups.append({"by": by, "label": label, "files": int(chosen.sum()), "systems": systems})
    return groups


def _ordered(labels: Collection[str]) -> list[str]:
    """Sort labels by value if all are numbers, or else as text."""
    try:
        numbers = {label: float(label) for label in labels}
    except ValueError:
        return sorted(labels)
    return sorted(labels, key=lambda label: (math.isnan(numbers[label]), numbers[label], label))


def _file(
    i: int,
    file: str,
    evaluations: Sequence[Evaluation],
    columns: Mapping[str, Sequence[str]],
    table: Table,
    measures: Mapping[str, Measure],
) -> dict[str, Any]:
    results = {one.method: one.files[i] for one in evaluations}
    known = next((result for result in results.values() if not result.error), evaluations[0].files[i])
    systems = {
        name: {
            "file": result.estimate,
            "scores": {m: table[name][m][i] for m in measures},
            "error": result.error,
            "note": result.note,
            "delay": result.delay,
        }
        for name, result in results.items()
    }
    return {
        "file": file,
        "clean": file,
        "noisy": known.noisy,
        "seconds": known.seconds,
        "sample_rate": known.sample_rate,
        "snr": known.snr,
        "columns": {name: cells[i] for name, cells in columns.items()},
        "systems": systems,
    }


def _versions(measures: Collection[str]) -> dict[str, str]:
    """Return versions of the packages that computed the measures."""
    found = {"rosecd_jax": importlib.metadata.version("rosecd-jax")}
    for family in FAMILIES:
        if not family.missing and any(one.name in measures for one in family.measures):
            found |= family.versions
    return found | {name: importlib.metadata.version(name) for name in ("numpy", "soxr")}


def write_results(directory: Path, results: Mapping[str, Any], evaluations: Sequence[Evaluation]) -> None:
    """Write results.json, and the times, which differ from run to run, to times.json."""
    write_text(directory / RESULTS, json.dumps(plain_json(results), indent=1, ensure_ascii=True) + "\n")
    times = {}
    for one in evaluations:
        computing, audio = one.computing_seconds
        times[one.method] = {
            "real_time_factor": one.real_time_factor,
            "computing_seconds": computing,
            "audio_seconds": audio,
        }
    write_text(directory / TIMES, json.dumps(plain_json({"systems": times}), indent=1) + "\n")


def read_results(directory: Path) -> dict[str, Any]:
    """Read results.json.

    Raises:
      ValueError: if it is missing, damaged or of a newer format version.
    """
    path = directory / RESULTS
    try:
        results = json.loads(path.read_text())
    except OSError as error:
        raise ValueError(f"{path}: can't be read; rosecd evaluate --output {directory} writes it") from error
    except ValueError as error:
        raise ValueError(f"{path}: is damaged ({error}); evaluate again") from error
    if not isinstance(results, dict) or not {"format", "systems", "files", "measures"} <= set(results):
        raise ValueError(f"{path}: holds no results of rosecd evaluate; give its output folder")
    if results["format"] > FORMAT:
        raise ValueError(f"{path}: is of format {results['format']}; this version reads up to {FORMAT}")
    return results
