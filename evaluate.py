"""Measure a model: python evaluate.py --data=DATA --checkpoint=C --output=DIR

Equivalent to `rosecd evaluate DATA`, with the data as an option.
"""

import sys

from rosecd_jax.cli import app

if __name__ == "__main__":
    words = [word.removeprefix("--data=") for word in sys.argv[1:] if word != "--data"]
    app(["evaluate", *words], prog_name="rosecd")
