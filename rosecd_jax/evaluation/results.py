"""results.json: the results of an evaluation, reproducible for the same files and systems."""

import importlib.metadata
import json
import math
from collections.abc import Mapping, Sequence
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
      ValueError: if the baseline, or a system or file of `others`, is not in the evaluation.
    """
    names = [evaluation.method for evaluation in evaluations]
    baseline = baseline or names[0]
    if baseline not in names:
        raise ValueError(f"baseline {baseline!r}: no such system; there are {', '.join(names)}")
    files = [result.file for result in evaluations[0].files]
    measures = {name: MEASURES[name] for name in evaluations[0].measures}
    measures |= {scores.measure.name: scores.measure for scores in others}
    table = _table(evaluations, files, measures, others)
    columns = _columns(files, manifest or {})
    first = {result.file: result for result in evaluations[0].files}
    return {
        "format": FORMAT,
        "data": str(data),
        "clean": str(data / "clean"),
        "noisy": str(data / "noisy"),
        "versions": _versions(measures),
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
    for scores in others:
        where = f"{scores.measure.name} of {scores.system}"
        if scores.system not in table:
            raise ValueError(f"{where}: no such system; there are {', '.join(table)}")
        if unknown := [name for name in scores.values if name not in places]:
            raise ValueError(f"{where}: no such file as {unknown[0]}; names are relative to the clean folder")
        row = np.full(len(files), math.nan)
        for name, value in scores.values.items():
            row[places[name]] = value
        table[scores.system][scores.measure.name] = row
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
        labels = sorted({cell for cell in cells if cell})
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


def _versions(measures: Mapping[str, Measure]) -> dict[str, str]:
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
