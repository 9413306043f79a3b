"""Charts of a report as SVG text: distributions, gain against input SNR, quality against network calls."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

__all__ = ["Series", "calls_chart", "distribution", "gain_chart", "legend"]

MOST_DOTS = 100
"""Number of files above which a distribution is drawn as a histogram."""
MOST_POINTS = 2000
"""Maximum number of a system's points in a scatter plot, chosen at random."""
MARKS = (
    "m-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0-7 0z",
    "m-3.2-3.2h6.4v6.4h-6.4z",
    "m0-4.4l4.2 7.6h-8.4z",
    "m0-4.6l4.6 4.6l-4.6 4.6l-4.6-4.6z",
    "m0 4.4l4.2-7.6h-8.4z",
    "m-4.4-1.3h3.1v-3.1h2.6v3.1h3.1v2.6h-3.1v3.1h-2.6v-3.1h-3.1z",
)
"""Shapes around a point, one per system, to distinguish systems without color."""


@dataclasses.dataclass(frozen=True, eq=False)
class Series:
    """A system's values of one measure, one per file; nan where there is none.

    Attributes:
      color: index of the system, which determines its color and mark.
      mean, low, high: as in the table; None without values.
    """

    name: str
    color: int
    values: np.ndarray
    mean: float | None
    low: float | None
    high: float | None


@dataclasses.dataclass(frozen=True)
class Axis:
    """Values from `low` to `high` along pixels from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float

    def place(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self, about: int = 5) -> list[float]:
        """Round numbers on the axis."""
        rough = (self.high - self.low) / about
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(size * power for size in (1, 2, 2.5, 5, 10) if size * power >= rough * 0.999)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(i * step, 10) for i in range(first, last + 1)]


def _axis(values: np.ndarray, start: float, end: float, zero: bool = False) -> Axis:
    known = values[np.isfinite(values)]
    low, high = float(known.min()), float(known.max())
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    margin = 0.06 * (high - low) or max(abs(high), 1.0) * 0.1
    return Axis(low - margin, high + margin, start, end)


def _text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    style = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{style}>{escape(words)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def _svg(width: int, height: int, label: str, parts: Sequence[str]) -> str:
    head = f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}">'
    return head + "".join(parts) + "</svg>"


def _marks(points: Sequence[tuple[float, float, str]], color: int, kind: str = "dot") -> str:
    """Draw points with a title each, or many points as one path."""
    mark, style = MARKS[color % len(MARKS)], f"{kind} c{color % 8}"
    if len(points) > MOST_DOTS:
        path = "".join(f"M{x:.1f} {y:.1f}{mark}" for x, y, _ in points)
        return f'<path class="{style} many" d="{path}"/>'
    return "".join(
        f'<path class="{style}" d="M{x:.1f} {y:.1f}{mark}"><title>{escape(title)}</title></path>'
        for x, y, title in points
    )


def in_unit(measure: Mapping[str, Any]) -> str:
    """Return a measure's title with its unit."""
    return f"{measure['title']} ({measure['unit']})" if measure["unit"] else str(measure["title"])


def _range(series: Series, digits: int) -> str:
    if series.mean is None:
        return "no scores"
    mean = f"{series.mean:.{digits}f}"
    if series.low is None or series.high is None:
        return mean
    return f"{mean}  ({series.low:.{digits}f} to {series.high:.{digits}f})"


def distribution(measure: Mapping[str, Any], systems: Sequence[Series], files: Sequence[str]) -> str:
    """Draw the distribution of a measure: a lane per system, of dots or bars, with mean and interval."""
    width, lane, top = 400, 50, 6
    bottom = top + lane * len(systems)
    together = np.concatenate([series.values for series in systems])
    if not np.isfinite(together).any():
        return ""
    axis = _axis(together, 10, width - 10)
    digits = measure["digits"]
    parts = []
    for tick in axis.ticks():
        x = axis.place(tick)
        parts += [_line(x, top, x, bottom, "grid"), _text(x, bottom + 16, f"{tick:g}", "tick", "middle")]
    for i, series in enumerate(systems):
        y = top + lane * i
        parts.append(_text(10, y + 14, _short(series.name, 22), "name"))
        parts.append(_text(width - 10, y + 14, _range(series, digits), "value", "end"))
        parts.append(_lane(series, axis, y + 33, files, digits))
    better = {"higher": "higher is better →", "lower": "← lower is better"}.get(measure["better"], "")
    parts.append(_text(width - 10, bottom + 34, better, "tick", "end"))
    means = "; ".join(f"{series.name} {_range(series, digits)}" for series in systems)
    return _svg(width, bottom + 40, f"Distribution of {in_unit(measure)}. Mean: {means}", parts)


def _lane(series: Series, axis: Axis, y: float, files: Sequence[str], digits: int) -> str:
    known = [(i, float(v)) for i, v in enumerate(series.values) if np.isfinite(v)]
    if len(known) <= MOST_DOTS:
        # Alternate dots are shifted vertically, so that neighbors stay distinct.
        dots = [
            (axis.place(v), y + (4 if place % 2 else -4), f"{files[i]}: {v:.{digits}f}")
            for place, (i, v) in enumerate(sorted(known, key=lambda pair: pair[1]))
        ]
        drawn = _marks(dots, series.color)
    else:
        counts, edges = np.histogram([v for _, v in known], bins=40, range=(axis.low, axis.high))
        bars = []
        for count, left, right in zip(counts, edges[:-1], edges[1:], strict=True):
            x, height = axis.place(left), 20 * count / counts.max()
            wide = axis.place(right) - x - 0.6
            bars.append(f"M{x:.1f} {y + 10:.1f}v{-height:.1f}h{wide:.1f}v{height:.1f}z")
        drawn = f'<path class="bar c{series.color % 8}" d="{"".join(bars)}"/>'
    return drawn + _interval(series, axis, y)


def _interval(series: Series, axis: Axis, y: float) -> str:
    """Draw mean and interval along x."""
    if series.mean is None:
        return ""
    x = axis.place(series.mean)
    mean = _line(x, y - 10, x, y + 10, "mean")
    if series.low is None or series.high is None:
        return mean
    return _line(axis.place(series.low), y, axis.place(series.high), y, "interval") + mean


def gain_chart(
    measure: Mapping[str, Any],
    systems: Sequence[Series],
    snrs: np.ndarray,
    baseline: Series,
    files: Sequence[str],
) -> str:
    """Draw the systems' gains over the baseline against the files' input SNR in dB; up is better.

    Lines join the means of groups of files of similar SNR. Returns "" if no file has both.
    """
    sign = -1.0 if measure["better"] == "lower" else 1.0
    gains = {series: sign * (series.values - baseline.values) for series in systems}
    points = {series: np.flatnonzero(np.isfinite(gain) & np.isfinite(snrs)) for series, gain in gains.items()}
    shown = [series for series in systems if points[series].size]
    if not shown:
        return ""
    what = f"Gain in {in_unit(measure)} over {baseline.name}"
    heights = np.concatenate([gains[series][points[series]] for series in shown])
    across = np.concatenate([snrs[points[series]] for series in shown])
    x, y = _axis(across, 52, 550), _axis(heights, 296, 12, zero=True)
    parts = _frame(x, y, [(tick, f"{tick:g}") for tick in x.ticks(7)], "input SNR (dB)")
    parts.append(_line(x.start, y.place(0), x.end, y.place(0), "zero"))
    trends = []
    for series in shown:
        chosen = points[series]
        if chosen.size > MOST_POINTS:
            chosen = np.sort(np.random.default_rng(0).choice(chosen, MOST_POINTS, replace=False))
        gain = gains[series]
        dots = []
        for i in map(int, chosen):
            change = f"{sign * gain[i]:+.{measure['digits']}f} at {snrs[i]:.1f} dB"
            dots.append((x.place(snrs[i]), y.place(gain[i]), f"{files[i]}, {series.name}: {change}"))
        parts.append(_marks(dots, series.color))
        trends.append(_trend(snrs[points[series]], gain[points[series]], x, y, series.color))
    parts += trends  # above all points
    return _svg(560, 344, f"{what}, by input SNR", parts)


def _trend(across: np.ndarray, heights: np.ndarray, x: Axis, y: Axis, color: int) -> str:
    """Draw the means of up to six groups of equal size; none for fewer than eight files."""
    groups = min(6, len(across) // 4)
    if groups < 2:
        return ""
    order = np.argsort(across, kind="stable")
    places = [
        f"{x.place(float(across[part].mean())):.1f},{y.place(float(heights[part].mean())):.1f}"
        for part in np.array_split(order, groups)
    ]
    return f'<polyline class="trend c{color % 8}" points="{" ".join(places)}"/>'


def _frame(x: Axis, y: Axis, ticks: Sequence[tuple[float, str]], label: str) -> list[str]:
    """Draw grid and axes."""
    parts = []
    for tick, words in ticks:
        place = x.place(tick)
        parts += [_line(place, y.end, place, y.start, "grid")]
        parts += [_text(place, y.start + 18, words, "tick", "middle")]
    for tick in y.ticks():
        place = y.place(tick)
        parts += [_line(x.start, place, x.end, place, "grid")]
        parts += [_text(x.start - 6, place + 4, f"{tick:g}", "tick", "end")]
    return [*parts, _text(x.end, y.start + 38, label, "tick", "end")]


def calls_chart(
    measure: Mapping[str, Any],
    systems: Sequence[Series],
    calls: Mapping[str, int],
    baseline: Series | None,
    published: Sequence[tuple[str, int, float]] = (),
) -> str:
    """Draw a measure's means with intervals against the number of network calls (logarithmic).

    Published figures, (name, calls, mean), get hollow marks. Returns "" unless the systems have different
    numbers of calls.
    """
    shown = [series for series in systems if series.name in calls and series.mean is not None]
    if len({calls[series.name] for series in shown}) < 2:
        return ""
    ends = [[series.low, series.mean, series.high] for series in [*shown, *([baseline] if baseline else [])]]
    ends += [[mean] * 3 for _, _, mean in published]
    y = _axis(np.array(ends, np.float64), 296, 12)
    numbers = sorted({calls[series.name] for series in shown} | {number for _, number, _ in published})
    logs = np.log2([max(1, number) for number in numbers])
    x = Axis(float(logs.min()) - 0.4, float(logs.max()) + 0.4, 52, 550)
    ticks = [(float(log), str(number)) for log, number in zip(logs, numbers, strict=True)]
    parts = _frame(x, y, ticks, "network calls")
    if baseline and baseline.mean is not None:
        level = y.place(baseline.mean)
        parts += [
            _line(x.start, level, x.end, level, "zero"),
            _text(x.end - 4, level - 6, baseline.name, "name", "end"),
        ]
    for series in shown:
        place = x.place(math.log2(max(1, calls[series.name])))
        if series.low is not None and series.high is not None:
            parts.append(_line(place, y.place(series.low), place, y.place(series.high), "interval"))
        assert series.mean is not None
        height = y.place(series.mean)
        parts.append(_marks([(place, height, f"{series.name}: {series.mean:g}")], series.color, "dot large"))
        right = place > (x.start + x.end) / 2
        parts.append(_text(place + (-9 if right else 9), height - 7, _short(series.name, 30), "name",
                           "end" if right else "start"))  # fmt: skip
    for name, number, mean in published:
        place, height = x.place(math.log2(max(1, number))), y.place(mean)
        parts.append(_hollow(place, height, f"{name}, published: {mean:g}"))
        right = place > (x.start + x.end) / 2
        parts.append(_text(place + (-9 if right else 9), height + 18, _short(name, 30), "value",
                           "end" if right else "start"))  # fmt: skip
    if published:
        parts += [_hollow(x.start + 6, y.start + 33), _text(x.start + 18, y.start + 38, "published", "tick")]
    return _svg(560, 344, f"{in_unit(measure)} by number of network calls", parts)


def _hollow(x: float, y: float, title: str = "") -> str:
    """Draw the mark of a published figure."""
    return f'<path class="hollow" d="M{x:.1f} {y:.1f}{MARKS[3]}"><title>{escape(title)}</title></path>'


def legend(names: Sequence[tuple[str, int]], after: Callable[[str], str] = lambda name: "") -> str:
    """List systems, (name, color), with their marks, as HTML."""
    items = [
        f'<li><svg viewBox="-6 -6 12 12" aria-hidden="true"><path class="dot c{color % 8}" '
        f'd="M0 0{MARKS[color % len(MARKS)]}"/></svg>{escape(name)}{escape(after(name))}</li>'
        for name, color in names
    ]
    return f'<ul class="legend">{"".join(items)}</ul>'


def _short(words: str, most: int) -> str:
    return words if len(words) <= most else f"{words[: most - 1]}…"
