"""Comparisons with numbers computed by the authors' code; `make fidelity` prints them in one table.

A test takes the fixture `agree` and calls `agree(quantity, ours, theirs, tolerance)`, which notes a row of
the table and fails where they differ. Agreement is asked for in float32 on a CPU, relative to an array's
largest magnitude.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from rosecd_jax.conversion import parameter_names, params_to_torch
from tests.goldens import packing
from tests.helpers import NETWORK as SMALL

CLOSED_FORM, NETWORK, GRADIENT = 1e-5, 1e-4, 1e-3
BRIDGE_ODE = 5e-4
"""Their first step subtracts weights above 5000 in float32; one unit in a weight's last place is 5e-4."""
COLUMNS = ("quantity", "shape", "largest difference", "relative", "allowed", "")
PROPERTY = "fidelity"
"""Under which a test's report carries its rows, also from another process."""


class Comparison(NamedTuple):
    """One row: the largest differences between our numbers and theirs, and what is allowed.

    Attributes:
      quantity: what is compared.
      shape: of the array, or the count of numbers in a tree.
      absolute: largest |ours − theirs|.
      relative: the same divided by the largest |theirs|; of a tree, the worst of its arrays.
      tolerance: of `relative`.
    """

    quantity: str
    shape: tuple[int, ...]
    absolute: float
    relative: float
    tolerance: float

    @property
    def agrees(self) -> bool:
        return self.relative < self.tolerance  # False for NaN

    def cells(self) -> tuple[str, ...]:
        """The row in words, by `COLUMNS`."""
        shape = " × ".join(map(str, self.shape)) or "1"
        numbers = (f"{self.absolute:.1e}", f"{self.relative:.1e}", f"{self.tolerance:.0e}")
        return self.quantity, shape, *numbers, "agrees" if self.agrees else "DIFFERS"


def compare(quantity: str, ours: Any, theirs: Any, tolerance: float) -> Comparison:
    """Two arrays.

    Raises:
      ValueError: if their shapes differ.
    """
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    if ours.shape != theirs.shape:
        raise ValueError(f"{quantity}: ours is {ours.shape}, theirs {theirs.shape}")
    absolute = float(np.abs(ours - theirs).max())
    return Comparison(quantity, theirs.shape, absolute, absolute / float(np.abs(theirs).max()), tolerance)


def compare_gradients(
    quantity: str, ours: Mapping[str, Any], theirs: Mapping[str, Any], tolerance: float = GRADIENT
) -> Comparison:
    """The gradients with respect to many arrays: the worst relative difference.

    The bias of attention's keys shifts all scores of a query alike, which softmax does not see: its gradient
    is zero, and both sides hold rounding noise, which is taken relative to the largest gradient of all. On
    both sides it has to stay below 1e-6 of that.
    """
    assert ours.keys() == theirs.keys()
    largest = max(float(np.abs(array).max()) for array in theirs.values())
    absolute, relative = [], []
    for name, expected in theirs.items():
        absolute.append(float(np.abs(ours[name] - expected).max()))
        rounding = name.endswith("key/bias")
        relative.append(absolute[-1] / (largest if rounding else float(np.abs(expected).max())))
        if rounding:
            noise = max(np.abs(ours[name]).max(), np.abs(expected).max()) / largest
            assert noise < 1e-6, f"{quantity}: {name} is {noise} of the largest gradient"
    count = sum(array.size for array in theirs.values())
    return Comparison(quantity, (count,), float(np.max(absolute)), float(np.max(relative)), tolerance)


def network_gradients(gradients: Any, file: str, prefix: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """(ours, theirs) of the committed entries of a small network's gradients, by our parameter names."""
    assert not np.any(gradients["time"]["frequencies"]), "the frequencies are fixed"
    names = parameter_names(SMALL)
    chosen = packing.chosen_gradients(file, prefix, params_to_torch(gradients, SMALL))
    ours, theirs = ({names[name]: array for name, array in arrays.items()} for arrays in chosen)
    return ours, theirs


class Agree:
    """The fixture `agree`: compares, notes the row in the test's report, and asserts."""

    def __init__(self, properties: list[tuple[str, object]]):
        self._properties = properties

    def __call__(self, quantity: str, ours: Any, theirs: Any, tolerance: float) -> None:
        self.row(compare(quantity, ours, theirs, tolerance))

    def gradients(self, quantity: str, ours: Any, file: str, prefix: str) -> None:
        """Of a small network, with the committed ones in a file under a prefix."""
        self.row(compare_gradients(quantity, *network_gradients(ours, file, prefix)))

    def row(self, row: Comparison) -> None:
        self._properties.append((PROPERTY, row.cells()))
        assert row.agrees, f"{row.quantity} differs: {row.relative}, allowed is {row.tolerance}"


def rows(reports: Mapping[str, list[Any]]) -> Iterator[tuple[str, ...]]:
    """Collect the rows recorded by the tests, from their reports by outcome, file by file."""
    calls = [
        report
        for kind in ("passed", "failed")
        for report in reports.get(kind, [])
        if getattr(report, "when", "") == "call"
    ]
    for report in sorted(calls, key=lambda report: report.nodeid.partition("::")[0]):
        yield from (tuple(row) for name, row in report.user_properties if name == PROPERTY)


def table(cells: list[tuple[str, ...]]) -> str:
    """The rows as Markdown, and how many agree."""
    lines = [" | ".join(row) for row in (COLUMNS, ("---",) * len(COLUMNS), *cells)]
    agree = sum(row[-1] == "agrees" for row in cells)
    return "\n".join([*(f"| {line} |" for line in lines), "", f"{agree} of {len(cells)} agree"])
