"""CSV files of an evaluation: results, other tools' scores, and manifests."""

import csv
import io as text_io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rosecd_jax.atomic import write_text
from rosecd_jax.data.mixed_files import MANIFEST
from rosecd_jax.evaluation.scoring import FileResult
from rosecd_jax.metrics import Measure


class OtherScores(NamedTuple):
    """Another tool's scores of one system in one measure, by the files' names without suffix."""

    measure: Measure
    system: str
    values: dict[str, float]


def write_table(path: Path, results: Iterable[FileResult], measures: Sequence[str]) -> None:
    """Write the results of all files as CSV, atomically."""
    table = text_io.StringIO()
    rows = csv.writer(table)
    rows.writerow(["file", "seconds", "computing_seconds", *measures, "error", "note", "delay", "snr"])
    for result in results:
        scores = [result.measures.get(name, math.nan) for name in measures]
        rest = result.error, result.note, result.delay, result.snr
        rows.writerow([result.file, result.seconds, result.computing, *scores, *rest])
    write_text(path, table.getvalue())


def read_scores(path: Path, system: str = "") -> list[OtherScores]:
    """Read scores of other tools: columns file, metric, value, and optionally system and better.

    Args:
      path: a CSV file.
      system: name of the system, for a table without that column.

    Raises:
      ValueError: naming the invalid row.
    """
    found: dict[tuple[str, str], OtherScores] = {}
    for number, row in _rows(path, ("file", "metric", "value")):
        owner, better = row.get("system") or system, row.get("better") or "higher"
        where = f"{path}, line {number}"
        if not owner:
            raise ValueError(f"{where}: no system; add a column of that name, or pass SYSTEM=FILE")
        if better not in ("higher", "lower"):
            raise ValueError(f"{where}: better is {better!r}; expected higher or lower")
        try:
            value = float(row["value"])
        except ValueError:
            raise ValueError(f"{where}: {row['value']!r} is not a number") from None
        worst, best = (-math.inf, math.inf) if better == "higher" else (math.inf, -math.inf)
        measure = Measure(row["metric"], row["metric"], "", 3, better, worst, best, f"from {path.name}")
        scores = found.setdefault((row["metric"], owner), OtherScores(measure, owner, {}))
        if row.get("better") and better != scores.measure.better:
            raise ValueError(f"{where}: better is {better}, but {scores.measure.better} in an earlier line")
        name = stem(row["file"])
        if name in scores.values:
            raise ValueError(f"{where}: a second {row['metric']} of {row['file']} for {owner}; remove one")
        scores.values[name] = value
    return list(found.values())


def read_manifest(path: Path) -> dict[str, dict[str, str]]:
    """Read a manifest: every column but `file`, by the files' names without suffix.

    Raises:
      ValueError: if it can't be read, or lists a file twice.
    """
    found: dict[str, dict[str, str]] = {}
    for number, row in _rows(path, ("file",)):
        name = stem(row.pop("file"))
        if name in found:
            raise ValueError(f"{path}, line {number}: {name} is also in an earlier line; remove one")
        found[name] = row
    return found


def is_reverberant(data: Path) -> bool:
    """Return whether a folder's manifest is that of a reverberant set: each file has a recipe and a T60."""
    try:
        rows = read_manifest(data / MANIFEST).values()
    except ValueError:  # none, or another program's
        return False
    return bool(rows) and all(row.get("recipe") and row.get("t60") for row in rows)


def stem(name: str) -> str:
    """Remove a file's suffix, and separate folders with /."""
    return Path(name.replace("\\", "/")).with_suffix("").as_posix()


def _rows(path: Path, required: Sequence[str]) -> Iterable[tuple[int, dict[str, Any]]]:
    """Yield the rows of a CSV file with their line numbers."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: can't be read ({error}); give a CSV file in UTF-8") from error
    reader = csv.DictReader(text_io.StringIO(text))
    if missing := [name for name in required if name not in (reader.fieldnames or ())]:
        listed = ", ".join(reader.fieldnames or ())
        raise ValueError(f"{path}: no column {missing[0]!r} among {listed or 'none'}; add a header")
    for row in reader:
        if None in row or None in row.values():
            raise ValueError(f"{path}, line {reader.line_num}: expected {len(reader.fieldnames or ())} cells")
        yield reader.line_num, row
