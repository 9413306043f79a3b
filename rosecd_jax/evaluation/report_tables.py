"""Tables of a report as HTML text, with names escaped."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from itertools import groupby
from typing import Any

from rosecd_jax.evaluation.ratings import REFERENCE, Ratings
from rosecd_jax.evaluation.statistics import Interval

__all__ = ["details", "group_tables", "listening", "published", "summary"]

Json = Mapping[str, Any]


def summary(results: Json, times: Json, ratings: Ratings) -> str:
    """Tabulate systems: means with intervals, and differences to the baseline; a row per measure."""
    systems = results["systems"]
    heads = "".join(_head(system, system["name"] == results["baseline"]) for system in systems)
    rows = [_measure_row(measure, results) for measure in results["measures"]]
    rows += _rating_rows(systems, ratings)
    rows += _cost_rows(systems, times)
    return (
        f'<table class="summary"><thead><tr><th scope="col">Measure</th>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _head(system: Json, is_baseline: bool) -> str:
    kind = "folder of files" if system["kind"] == "folder" else str(system["kind"])
    kind = "baseline" if is_baseline else kind
    return f'<th scope="col">{escape(system["name"])}<small>{escape(kind)}</small></th>'


def _measure_row(measure: Json, results: Json) -> str:
    name, digits = measure["name"], measure["digits"]
    found = {system["name"]: system["summary"].get(name) or {} for system in results["systems"]}
    best, total, cells = _best(measure, found, results["files"]), len(results["files"]), []
    for system in results["systems"]:
        entry = found[system["name"]]
        if entry.get("mean") is None:
            cells.append('<td class="none">–</td>')
            continue
        difference = (system.get("difference") or {}).get(name)
        mean = _mean(entry, digits, system["name"] in best, total)
        cells.append(f"<td>{mean}{_difference(difference, measure, total)}</td>")
    arrow = {"higher": "↑", "lower": "↓"}.get(measure["better"], "")
    words = {"higher": "higher is better", "lower": "lower is better"}.get(measure["better"], "")
    sign = f' <span class="better" role="img" aria-label="{words}" title="{words}">{arrow}</span>'
    unit = f"<small>{escape(measure['unit'])}</small>" if measure["unit"] else ""
    head = f'<th scope="row">{escape(measure["title"])}{sign if arrow else ""}{unit}</th>'
    return f"<tr>{head}{''.join(cells)}</tr>"


def _best(measure: Json, found: Json, files: Sequence[Json]) -> set[str]:
    """Return the systems with the best mean as shown, among those with a score of every scored file."""
    name, digits = measure["name"], measure["digits"]
    rows = ([one["scores"].get(name) for one in file["systems"].values()] for file in files)
    scored = sum(any(score is not None for score in row) for row in rows)
    complete = (system for system, entry in found.items() if scored and entry.get("files") == scored)
    means = {system: round(found[system]["mean"], digits) for system in complete}
    if not measure["better"] or len(means) < 2:
        return set()
    best = (min if measure["better"] == "lower" else max)(means.values())
    return {system for system, mean in means.items() if mean == best}


def _number(value: float, digits: int, sign: str = "") -> str:
    """Format a number with a real minus sign, and no sign before zero."""
    return f"{round(value, digits) + 0.0:{sign}.{digits}f}".replace("-", "−")


def _mean(entry: Json, digits: int, best: bool, total: int) -> str:
    mean = _number(entry["mean"], digits)
    words = f"<b>{mean}</b>" if best else f"<span>{mean}</span>"
    if entry.get("low") is not None and entry.get("high") is not None:
        words += f" <small>{_between(entry['low'], entry['high'], digits)}</small>"
    return f'<div class="mean">{words}</div>{_fewer(entry, total)}'


def _fewer(entry: Json, total: int) -> str:
    """Return the number of files of a mean, or "" if it is over all."""
    files = entry.get("files", total)
    return "" if files == total else f'<div class="share"><small>{files} of {total} files</small></div>'


def _between(low: float, high: float, digits: int, sign: str = "") -> str:
    return f"{_number(low, digits, sign)} to {_number(high, digits, sign)}"


def _difference(entry: Json | None, measure: Json, total: int) -> str:
    """Format a paired difference with its interval and the shares of better and worse files."""
    if not entry or entry.get("mean") is None:
        return ""
    digits, low, high = measure["digits"], entry.get("low"), entry.get("high")
    kind = "even"
    if measure["better"] and low is not None and high is not None and (low > 0 or high < 0):
        kind = "gain" if (low > 0) == (measure["better"] == "higher") else "loss"
    sign = {"gain": "▲ ", "loss": "▼ ", "even": ""}[kind]
    words = f"{sign}{_number(entry['mean'], digits, '+')}"
    if low is not None and high is not None:
        words += f" <small>{_between(low, high, digits, '+')}</small>"
    html = f'<div class="difference {kind}">{words}</div>'
    if measure["better"] and entry.get("better") is not None and entry.get("worse") is not None:
        better, worse = (_number(100 * entry[side], 0) for side in ("better", "worse"))
        share = f"{better} % better, {worse} % worse"
        html += f'<div class="share"><small>{share}</small></div>'
    return html + _fewer(entry, total)


def _rating_rows(systems: Sequence[Json], ratings: Ratings) -> list[str]:
    """Return rows of mean ratings, if there are any."""
    rows = []
    scores = [ratings.score(system["name"]) for system in systems]
    if any(scores):
        cells = [_rating(found, 0, 1.0) for found in scores]
        rows.append(_row("Listening, MUSHRA", "0 to 100, with hidden reference", cells, "ratings"))
    shares = [ratings.preference(system["name"]) for system in systems]
    if any(shares):
        cells = [_rating(found, 0, 100.0, "\u202f%") for found in shares]
        rows.append(_row("Listening, preferred", "share of comparisons", cells, "ratings"))
    return rows


def _rating(found: tuple[Interval, int] | None, digits: int, factor: float, unit: str = "") -> str:
    if found is None:
        return '<td class="none">–</td>'
    interval, count = found
    mean, low, high = (factor * value for value in (interval.mean, interval.low, interval.high))
    between = "" if math.isnan(low) else f"{_between(low, high, digits)}{unit}"
    return (
        f'<td><div class="mean"><span>{mean:.{digits}f}{unit}</span> <small>{between}</small></div>'
        f'<div class="share"><small>{_ratings(count)}</small></div></td>'
    )


def _ratings(count: int) -> str:
    return f"{count} rating{'' if count == 1 else 's'}"


def _cost_rows(systems: Sequence[Json], times: Json) -> list[str]:
    """Return rows of network calls and real-time factor."""
    rows = []
    if any(system.get("network_calls") for system in systems):
        cells = [f"<td>{system.get('network_calls') or '–'}</td>" for system in systems]
        rows.append(_row("Network calls", "per enhancement", cells, "cost"))
    found = [times.get(system["name"], {}).get("real_time_factor") for system in systems]
    if any(factor is not None for factor in found):
        cells = [f"<td>{'–' if factor is None else f'{factor:.3g}'}</td>" for factor in found]
        rows.append(_row("Real-time factor", "seconds of computation per second", cells, "cost"))
    return rows


def _row(title: str, note: str, cells: Sequence[str], kind: str) -> str:
    head = f'<th scope="row">{escape(title)}<small>{escape(note)}</small></th>'
    return f'<tr class="{kind}">{head}{"".join(cells)}</tr>'


def group_tables(results: Json, measure: Json) -> str:
    """Tabulate means of a measure by input SNR and by a manifest's columns."""
    titles = {"snr": "Input SNR"}
    names = [system["name"] for system in results["systems"]]
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    tables = []
    for by, groups in groupby(results["groups"], key=lambda group: group["by"]):
        rows = "".join(_group_row(group, names, measure) for group in groups)
        title = escape(titles.get(by) or str(by))
        label = f"{escape(measure['title'])} by {title}"
        tables.append(
            f'<div class="scroll" tabindex="0" role="region" aria-label="{label}">'
            f'<table class="groups"><thead><tr><th scope="col">{title}</th><th scope="col">Files</th>{heads}'
            f"</tr></thead><tbody>{rows}</tbody></table></div>"
        )
    return "".join(tables)


def _group_row(group: Json, names: Sequence[str], measure: Json) -> str:
    cells = []
    for name in names:
        entry = group["systems"].get(name, {}).get(measure["name"]) or {}
        if entry.get("mean") is None:
            cells.append('<td class="none">–</td>')
        else:
            cells.append(f"<td>{_mean(entry, measure['digits'], False, group['files'])}</td>")
    label = f'<th scope="row">{escape(str(group["label"]))}</th>'
    return f"<tr>{label}<td>{group['files']}</td>{''.join(cells)}</tr>"


def listening(ratings: Ratings) -> str:
    """List the listening sessions, or ""."""
    if not ratings.sessions:
        return ""
    items = []
    for session in ratings.sessions:
        count = len(session.scores) or len(session.comparisons)
        kind = "MUSHRA" if session.kind == "mushra" else "A/B comparison"
        warning = f' <span class="warning">{escape(w)}</span>' if (w := session.warning()) else ""
        listener = escape(session.listener or "anonymous")
        items.append(f"<li>{listener}: {kind}, {_ratings(count)}.{warning}</li>")
    hidden = ratings.score(REFERENCE)
    words = ""
    if hidden:
        interval, count = hidden
        between = "" if math.isnan(interval.low) else f"{_between(interval.low, interval.high, 0)}, "
        words = f"<p>The hidden reference got {interval.mean:.0f} ({between}{_ratings(count)}).</p>"
    return f"<h3>Listening sessions</h3>{words}<ul>{''.join(items)}</ul>"


def published(results: Json) -> str:
    """Tabulate published figures, or ""."""
    entries = results.get("published") or []
    measures = [m for m in results["measures"] if any(entry.get(m["name"]) is not None for entry in entries)]
    if not measures:
        return ""
    heads = "".join(f'<th scope="col">{escape(measure["title"])}</th>' for measure in measures)
    rows = ""
    for entry in entries:
        scores = ((entry.get(measure["name"]), measure["digits"]) for measure in measures)
        cells = "".join(f"<td>{'–' if s is None else _number(s, digits)}</td>" for s, digits in scores)
        source = f"<small>{escape(str(entry.get('source') or ''))}</small>"
        rows += f'<tr><th scope="row">{escape(str(entry["name"]))}{source}</th>{cells}</tr>'
    return (
        "<h3>Published figures</h3><p>As reported by their authors, whose files, resampling and packages may "
        'differ from those above.</p><div class="scroll" tabindex="0" role="region" '
        'aria-label="Published figures"><table class="groups"><thead><tr><th scope="col">System</th>'
        f"{heads}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def details(results: Json) -> str:
    """List measures, systems, versions and notes."""
    measures = "".join(
        f"<dt>{escape(measure['title'])}</dt><dd>{escape(measure['note'] or '–')}</dd>"
        for measure in results["measures"]
    )
    systems = "".join(_system(system) for system in results["systems"])
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    return (
        f"<h3>Measures</h3><dl>{measures}</dl><h3>Systems</h3><dl>{systems}</dl>"
        f"<h3>Versions</h3><p>{escape(versions)}</p>"
    )


def _system(system: Json) -> str:
    settings = ", ".join(f"{name} {value}" for name, value in (system.get("settings") or {}).items())
    lines = [system["source"] or "the unprocessed noisy input", settings]
    html = "".join(f"<dd>{escape(str(line))}</dd>" for line in lines if line)
    for kind in ("notes", "errors"):
        html += "".join(f'<dd class="warning">{escape(str(line))}</dd>' for line in system.get(kind) or [])
    return f"<dt>{escape(system['name'])}</dt>{html}"
