"""Measure a model: python evaluate.py --data=DATA --checkpoint=C --output=DIR

The same as `rosecd evaluate DATA`, with the data as an option.
"""

import sys

from rosecd_jax.cli import app


def arguments(given: list[str]) -> list[str]:
    """--data=DATA or --data DATA becomes the positional argument of the subcommand."""
    data = [word.removeprefix("--data=") for word in given if word.startswith("--data=")]
    rest = [word for word in given if not word.startswith("--data=")]
    if "--data" in rest:
        at = rest.index("--data")
        data, rest = rest[at + 1 : at + 2], rest[:at] + rest[at + 2 :]
    return [*data, *rest]


if __name__ == "__main__":
    app(["evaluate", *arguments(sys.argv[1:])], prog_name="evaluate.py")
