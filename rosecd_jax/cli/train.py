"""The command `rosecd train`, which train.py calls."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rosecd_jax.cli.common import plain_errors
from rosecd_jax.cli.configs import find_config
from rosecd_jax.cli.modules import find_beside, load_module, raised_by

if TYPE_CHECKING:
    from rosecd_jax.training.config import TrainConfig
    from rosecd_jax.training.functions import Functions


def train(
    context: typer.Context,
    config: Annotated[
        str,
        typer.Option(help="Packaged config, NAME or NAME:ARGUMENT, or a file, FILE.py or FILE.py:ARGUMENT."),
    ],
    workdir: Annotated[Path, typer.Option(help="Folder for checkpoints and curves; a run in it is resumed.")],
) -> None:
    """Train a model. Any value of the config can be set: --config.data.batch_size=8

    The same command resumes a run that was stopped or killed. Processes, one per host, that are started with
    JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID train together. A config file may define
    get_functions(config) for a custom loss, optimizer, network or solver; see Research in the documentation.
    """
    typer.echo(f"{config} -> {workdir}")  # before the imports, which take seconds
    from rosecd_jax.training.devices import join_processes
    from rosecd_jax.training.loop import TrainingStopped, train

    with plain_errors(TrainingStopped):
        settings = read_config(config, context.args)
        functions = read_functions(config, settings)
        join_processes()
        train(settings, workdir, typer.echo, functions)


def read_config(file: str, overrides: Sequence[str]) -> "TrainConfig":
    """Read a config, by file or name, and apply `--config.key=value` overrides.

    Raises:
      ValueError: if the file fails, a key is unknown, or a value has the wrong type or is out of range.
    """
    from rosecd_jax.config import from_dict
    from rosecd_jax.extras import extra
    from rosecd_jax.training.config import TrainConfig

    with extra("train", "a training config"):
        from absl import flags
        from ml_collections import config_flags

    file, path = find_config(file)
    find_beside(path)
    overrides = [re.sub(r"^--config\.optimiser\.", "--config.optimizer.", word) for word in overrides]
    words = ["rosecd", f"--config={file}", *overrides]
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=words)
    try:
        rest = values(words)
        found = values["config"].value
        settings: Any = found.to_dict() if found is not None and hasattr(found, "to_dict") else None
    except (Exception, SystemExit) as error:  # the file is a program, which may raise anything
        raise ValueError(f"{file}: {raised_by(path, error) or _cause(error)}") from error
    if rest[1:]:
        raise ValueError(f"unexpected argument {rest[1]!r}; config values are set as --config.key=value")
    if settings is None:
        raise ValueError(
            f"{file}: get_config() returns a {type(found).__name__}, expected a ConfigDict of a TrainConfig: "
            "return ConfigDict(rosecd_jax.config.to_dict(TrainConfig(...)))"
        )
    return from_dict(TrainConfig, settings)


def read_functions(file: str, config: "TrainConfig") -> "Functions":
    """Return the result of a config file's `get_functions(config)`, if defined.

    The file is run as a module of its own name, and can import modules in its folder.

    Raises:
      ValueError: if it returns anything else.
    """
    from rosecd_jax.training.functions import AS_CONFIGURED, Functions

    _, path = find_config(file)
    if "get_functions" not in path.read_text(encoding="utf-8"):
        return AS_CONFIGURED
    module = load_module(path)
    try:
        functions = getattr(module, "get_functions", lambda _: AS_CONFIGURED)(config)
    except Exception as error:  # the file is a program
        raise ValueError(f"{path}: {raised_by(path, error) or error}") from error
    if not isinstance(functions, Functions):
        found = type(functions).__name__
        raise ValueError(f"{path}: get_functions() returns a {found}, expected rosecd_jax.training.Functions")
    return functions


def _cause(error: BaseException) -> str:
    """Describe an error; if ml_collections put a config file's traceback into it, by the last line."""
    if isinstance(error, (SyntaxError, OSError)):  # of Python, or of ml_collections with several lines
        return f"{type(error).__name__}: {str(error).strip().splitlines()[-1].strip()}"
    innermost: object = error
    while isinstance(innermost, (AttributeError, KeyError)) and innermost.args:
        innermost, unknown = innermost.args[0], isinstance(innermost, KeyError)
        if unknown:  # the message is a quoted name, and perhaps a suggestion
            return f"the config has no value {innermost}"
    words = str(innermost).strip()
    if found := re.match(
        r"flag (--config.*?): (invalid literal for int|could not convert string to float)", words
    ):
        return f"{found[1]}: expected a {'whole ' if 'int' in found[2] else ''}number"
    return words.splitlines()[-1] if "Traceback (most recent call last)" in words else words
