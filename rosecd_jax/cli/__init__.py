"""The `rosecd` command. Nothing heavy is imported before a command runs."""

import typer

from rosecd_jax.cli.check import check
from rosecd_jax.cli.checkpoint import convert, info, models
from rosecd_jax.cli.common import main
from rosecd_jax.cli.enhance import enhance
from rosecd_jax.cli.evaluate import evaluate
from rosecd_jax.cli.export import export
from rosecd_jax.cli.finetune import finetune
from rosecd_jax.cli.prepare import folder, mix, synthetic, voicebank
from rosecd_jax.cli.recipes import (
    ears_reverb,
    ears_wham,
    timit_noisex,
    wsj0_chime3,
    wsj0_qut,
    wsj0_reverb,
)
from rosecd_jax.cli.report import report
from rosecd_jax.cli.stream import stream
from rosecd_jax.cli.train import train

app = typer.Typer(no_args_is_help=True)
prepare_app = typer.Typer(help="Make training data and test sets.", no_args_is_help=True)
app.callback()(main)
app.add_typer(prepare_app, name="prepare")

for command in (enhance, stream, finetune, evaluate, report, check, convert, export, info, models):
    app.command()(command)
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(train)
for command in (synthetic, voicebank, folder, mix):
    prepare_app.command()(command)
for command in (timit_noisex, wsj0_chime3, wsj0_qut, wsj0_reverb, ears_wham, ears_reverb):
    prepare_app.command()(command)
