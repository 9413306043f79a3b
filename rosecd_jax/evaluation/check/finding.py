"""What `rosecd check` reports: findings, and how files that share one are put into words."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal

from rosecd_jax.evaluation.check.facts import Facts, Side

Severity = Literal["error", "warning", "information"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "information")


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing about the data that a user has to know, with what to do about it.

    Attributes:
      kind: a word for it, the same for all findings of its kind.
      severity: error: results would be wrong, or a file can't be used; warning: they may be; information:
        nothing is wrong.
      message: what was found, with figures.
      remedy: what to do; empty for information that needs nothing.
      files: paths below DATA, those with the largest figures first; empty if it is about all of them.
      figures: what was measured, for each file; empty where there is nothing to measure.
      unit: of the figures.
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
    """File -> figure of the readable files that have one."""
    sides = [side for one in facts for side in one.sides if not side.problem]
    found = {side.file: figure(side) for side in sides}
    return {file: value for file, value in found.items() if value is not None}


def span(values: Iterable[float], digits: int, unit: str) -> str:
    """Values in words: "1.0 to 2.5 dB", or "1.0 dB" if they are alike; empty if there are none."""
    values = list(values)
    if not values:
        return ""
    low, high = f"{min(values):.{digits}f}", f"{max(values):.{digits}f}"
    return f"{low} {unit}".strip() if low == high else f"{low} to {high} {unit}".strip()


def count(number: int, what: str) -> str:
    """A number of things in words: "1 file", "3 files"."""
    return f"{number} {what}{'' if number == 1 else 's'}"
