"""Entry point of `python -m rosecd_jax.cli`."""

from rosecd_jax.cli import app

app(prog_name="rosecd")
