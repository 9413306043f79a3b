"""Findings of `rosecd check`, and their wording."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal

from rosecd_jax.evaluation.check.facts import Facts, Side

Severity = Literal["error", "warning", "information"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "information")


@dataclasses.dataclass(frozen=True)
class Finding:
    """A finding about the data, with its remedy.

    Attributes:
      kind: identifier of its kind.
      severity: "error": results would be wrong, or a file can't be used; "warning": they may be wrong;
        "information": nothing is wrong.
      message: the finding, with figures.
      remedy: may be empty for information.
      files: paths below DATA, those with the largest figures first; empty if it concerns all files.
      figures: a measurement for each file, or empty.
      unit: unit of the figures.
    """

    kind: str
    severity: Severity
    message: str
    remedy: str = ""
    files: tuple[str, ...] = ()
    figures: tuple[float, ...] = ()
    unit: str = ""


def about(
    kind: str, severity: Severity, message: str, remedy: str, found: Mapping[str, float], unit: str = ""
) -> Iterator[Finding]:
    """Yield a finding about the files in `found`, file -> figure, if there are any."""
    if found:
        files = sorted(found, key=lambda file: (-abs(found[file]), file))
        yield Finding(
            kind, severity, message, remedy, tuple(files), tuple(found[file] for file in files), unit
        )


def unmeasured(
    kind: str, severity: Severity, message: str, remedy: str, files: Iterable[str]
) -> Iterator[Finding]:
    """Yield a finding without figures about some files, if there are any."""
    if found := tuple(sorted(files)):
        yield Finding(kind, severity, message, remedy, found)


def measured(facts: Sequence[Facts], figure: Callable[[Side], float | None]) -> dict[str, float]:
    """Return file -> figure of the readable files that have one."""
    sides = [side for one in facts for side in one.sides if not side.problem]
    found = {side.file: figure(side) for side in sides}
    return {file: value for file, value in found.items() if value is not None}


def span(values: Iterable[float], digits: int, unit: str) -> str:
    """Format a range, "1.0 to 2.5 dB", or "1.0 dB" if values are equal; "" without values."""
    values = list(values)
    if not values:
        return ""
    low, high = f"{min(values):.{digits}f}", f"{max(values):.{digits}f}"
    return f"{low} {unit}".strip() if low == high else f"{low} to {high} {unit}".strip()


def count(number: int, what: str) -> str:
    """Format a number of things: "1 file", "3 files"."""
    return f"{number} {what}{'' if number == 1 else 's'}"
