"""The report of an evaluation: tables, charts, sounds and a blind test in one offline HTML file."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from rosecd_jax.atomic import write_text
from rosecd_jax.evaluation import report_cards, report_charts, report_tables
from rosecd_jax.evaluation.check.voicebank import FILES, TEST_SET, is_test_set
from rosecd_jax.evaluation.ratings import REFERENCE, Ratings, read_ratings
from rosecd_jax.evaluation.report_charts import Series
from rosecd_jax.evaluation.report_sounds import Recording, choose, prepare
from rosecd_jax.evaluation.results import read_results

__all__ = ["REPORT", "write_report"]

REPORT = "report.html"
SOUND_BYTES = 12_000_000
"""Limit for sounds and spectrograms; a whole report of 50 files and 4 systems is below 15 MB."""
NEEDED = {"data", "clean", "noisy", "versions", "baseline", "groups", "columns"}
TEMPLATES = Path(__file__).parent
SCRIPTS = ("report_player.js", "report_blind.js", "report.js")

Json = Mapping[str, Any]


def write_report(
    directory: Path, ratings: Sequence[Path] = (), measure: str = "", play: Sequence[str] = ()
) -> Path:
    """Write report.html into the directory of an evaluation, from its results.json, times.json and waves.

    Args:
      directory: output of `rosecd evaluate --output`.
      ratings: files saved by blind sessions of its report.
      measure: name of the measure that ranks files; "": the first with a better side.
      play: files with players; none: the best, the median, the worst and the most degraded.

    Raises:
      ValueError: if results or ratings are damaged or don't belong together, or a name is unknown.
      ImportError: if librosa is missing.
      OSError: if the report can't be written.
    """
    results = read_results(directory)
    if missing := NEEDED - set(results):
        raise ValueError(f"{directory}: its results lack {', '.join(sorted(missing))}; evaluate again")
    chosen = _chosen(results, measure)
    heard = read_ratings(ratings, results)
    picks = choose(results, chosen, play)
    recordings, missing = prepare(results, directory, picks, SOUND_BYTES)
    _refuse_other_sounds(heard, recordings, results)
    page = _page(results, _times(directory), chosen, heard, recordings, missing)
    write_text(directory / REPORT, page)
    return directory / REPORT


def _chosen(results: Json, name: str) -> Json:
    """Find a measure by name, or the first one with a better side."""
    measures = results["measures"]
    if not measures:
        raise ValueError("these results hold no measures; evaluate again")
    if not name:
        return next((entry for entry in measures if entry["better"]), measures[0])
    for entry in measures:
        if entry["name"] == name:
            return entry
    known = ", ".join(entry["name"] for entry in measures)
    raise ValueError(f"no measure {name} in these results; they hold {known}")


def _times(directory: Path) -> Json:
    """Read the systems' times; empty without the file."""
    path = directory / "times.json"
    try:
        return json.loads(path.read_text("utf-8"))["systems"]
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: damaged ({error}); delete it or evaluate again") from error


def _refuse_other_sounds(ratings: Ratings, recordings: Sequence[Recording], results: Json) -> None:
    """Refuse ratings of sounds that have changed since; only sounds with players can be checked."""
    now = {
        (results["files"][recording.pick.index]["file"], sound.system): sound.fingerprint
        for recording in recordings
        for sound in recording.sounds
        if sound.fingerprint
    }
    for file, system, sound in sorted(ratings.sounds(), key=str):
        if now.get((file, system), sound) != sound:
            name = "clean" if system is REFERENCE else system
            raise ValueError(
                f"ratings of {file}: {name} has changed since it was rated; rate it again in this report"
            )


def _page(
    results: Json,
    times: Json,
    chosen: Json,
    ratings: Ratings,
    recordings: Sequence[Recording],
    missing: Sequence[str],
) -> str:
    """Insert all parts into the template in one pass, without substituting inside them."""
    files = [entry["file"] for entry in results["files"]]
    series = {entry["name"]: _series(results, entry) for entry in results["measures"]}
    shown = [entry for entry in results["measures"] if entry["better"]][:3]
    cards = [report_cards.card(i, recording, results, shown) for i, recording in enumerate(recordings)]
    values = {
        "title": escape(f"{Path(results['data']).name or results['data']}: evaluation"),
        "heading": escape(str(results["data"])),
        "counts": f"{_count(len(results['systems']), 'system')}, {_count(len(files), 'file')}",
        "version": escape(str(results["versions"].get("rosecd_jax", ""))),
        "baseline": escape(results["baseline"]),
        "summary": report_tables.summary(results, times, ratings),
        "published": report_tables.published(results),
        "listening": report_tables.listening(ratings),
        "distributions": "".join(
            _distribution(entry, series[entry["name"]], files) for entry in results["measures"]
        ),
        "measures": _options(results["measures"], chosen),
        "conditions": "".join(
            _conditions(results, entry, series[entry["name"]], files, entry is chosen)
            for entry in results["measures"]
        ),
        "players": _players(results, chosen, recordings, missing),
        "cards": "".join(cards),
        "scale": report_cards.color_scale() if cards else "",
        "blind": "" if cards else "hidden",
        "details": report_tables.details(results),
        "sounds": "".join(report_cards.sounds(i, recording) for i, recording in enumerate(recordings)),
        "data": _script_json(_data(results, recordings)),
        "style": _template("report.css"),
        "script": "\n".join(_template(name) for name in SCRIPTS),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], _template("report.html"))


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _template(name: str) -> str:
    return (TEMPLATES / name).read_text("utf-8")


def _series(results: Json, measure: Json) -> list[Series]:
    """Return all systems' scores of a measure."""
    found = []
    for color, system in enumerate(results["systems"]):
        entries = (entry["systems"].get(system["name"], {}) for entry in results["files"])
        scores = [entry.get("scores", {}).get(measure["name"]) for entry in entries]
        values = np.array([math.nan if score is None else score for score in scores], np.float64)
        mean = system["summary"].get(measure["name"]) or {}
        found.append(
            Series(system["name"], color, values, mean.get("mean"), mean.get("low"), mean.get("high"))
        )
    return found


def _distribution(measure: Json, series: Sequence[Series], files: Sequence[str]) -> str:
    chart = report_charts.distribution(measure, series, files)
    return f"<figure><h3>{escape(report_charts.in_unit(measure))}</h3>{chart}</figure>" if chart else ""


def _options(measures: Sequence[Json], chosen: Json) -> str:
    return "".join(
        f'<option value="{escape(entry["name"])}"{" selected" if entry is chosen else ""}>'
        f"{escape(entry['title'])}</option>"
        for entry in measures
    )


def _conditions(
    results: Json, measure: Json, series: Sequence[Series], files: Sequence[str], shown: bool
) -> str:
    """Draw a measure by input SNR, by network calls and by groups of files."""
    snrs = np.array([math.nan if e.get("snr") is None else e["snr"] for e in results["files"]], np.float64)
    baseline = next((entry for entry in series if entry.name == results["baseline"]), None)
    others = [entry for entry in series if entry is not baseline]
    calls = {s["name"]: s["network_calls"] for s in results["systems"] if s.get("network_calls")}
    charts = []
    if baseline and others and (chart := report_charts.gain_chart(measure, others, snrs, baseline, files)):
        names = report_charts.legend([(entry.name, entry.color) for entry in others])
        title = escape(f"Gain in {report_charts.in_unit(measure)} over {baseline.name}; up is better")
        note = "Each point is a file; lines join means of files of similar SNR." if len(files) > 7 else ""
        charts.append(f"<figure><h3>{title}</h3>{chart}{names}<figcaption>{note}</figcaption></figure>")
    published = _published(results, measure)
    if chart := report_charts.calls_chart(measure, series, calls, baseline, published):
        title = escape(f"{report_charts.in_unit(measure)} by network calls")
        note = "Means with their intervals; the dashed line is the baseline."
        note += f" Published means are over all {FILES} files of {TEST_SET}'s test set." if published else ""
        charts.append(f"<figure><h3>{title}</h3>{chart}<figcaption>{note}</figcaption></figure>")
    content = (
        f'<div class="charts wide">{"".join(charts)}</div>{report_tables.group_tables(results, measure)}'
    )
    hidden = "" if shown else " hidden"
    return f'<div class="conditions" data-measure="{escape(measure["name"])}"{hidden}>{content}</div>'


def _published(results: Json, measure: Json) -> list[tuple[str, int, float]]:
    """Return published names, network calls and means, if the files are named like those of the test set."""
    if not is_test_set([entry["file"] for entry in results["files"]]):
        return []
    entries = [e for e in results.get("published") or [] if e.get("test_set") == TEST_SET]
    found = ((str(e["name"]), e.get("network_calls"), e.get(measure["name"])) for e in entries)
    return [(name, calls, mean) for name, calls, mean in found if calls and mean is not None]


def _players(results: Json, chosen: Json, recordings: Sequence[Recording], missing: Sequence[str]) -> str:
    """Describe which files have players, and why."""
    count, total = len(recordings), len(results["files"])
    requested = any("requested" in recording.pick.reasons for recording in recordings)
    title = escape(chosen["title"])
    if requested:
        why = "those requested"
    elif chosen["better"]:
        why = (
            f"for every system, the files with the best, the median and the worst {title}, "
            f"and the one whose {title} it lowers most, if any"
        )
        why = why.replace("lowers", "raises") if chosen["better"] == "lower" else why
    else:
        why = f"for every system, the files with the highest, the median and the lowest {title}"
    words = f"<p>{count} of {total} files have players: {why}. All files are in the table above.</p>"
    return words + "".join(f'<p class="warning">{escape(line)}</p>' for line in missing)


def _data(results: Json, recordings: Sequence[Recording]) -> Json:
    """Return the data of the page's script."""
    names = [system["name"] for system in results["systems"]]
    measures = [entry["name"] for entry in results["measures"]]
    cards = {recording.pick.index: i for i, recording in enumerate(recordings)}
    return {
        "systems": names,
        "baseline": names.index(results["baseline"]) if results["baseline"] in names else None,
        "measures": results["measures"],
        "columns": results["columns"],
        "files": [
            {
                "file": entry["file"],
                "seconds": entry["seconds"],
                "snr": entry["snr"],
                "columns": [(entry.get("columns") or {}).get(column, "") for column in results["columns"]],
                "scores": [_scores(entry, name, measures) for name in names],
                "notes": _notes(entry, names),
                "card": cards.get(index),
            }
            for index, entry in enumerate(results["files"])
        ],
        "cards": [
            {
                "file": results["files"][recording.pick.index]["file"],
                "seconds": recording.seconds,
                "sounds": [
                    {"system": sound.system, "fingerprint": sound.fingerprint, "error": sound.error}
                    for sound in recording.sounds
                ],
            }
            for recording in recordings
        ],
    }


def _scores(entry: Json, system: str, measures: Sequence[str]) -> list[float | None]:
    scores = entry["systems"].get(system, {}).get("scores", {})
    return [scores.get(measure) for measure in measures]


def _notes(entry: Json, names: Sequence[str]) -> list[str]:
    """List notes on a file, with the systems' names."""
    found = []
    for name in names:
        own = entry["systems"].get(name, {})
        found += [f"{name}: {own[kind]}" for kind in ("error", "note") if own.get(kind)]
    return found


def _script_json(content: Json) -> str:
    """Write JSON that can't end its script element."""
    text = json.dumps(content, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
