"""What docs/research.md holds, for the tests that run it: as code, and as config files of small runs."""

import re
from pathlib import Path

from typer.testing import CliRunner

from rosecd_jax.cli import app

PAGE = Path(__file__).parents[1] / "docs" / "research.md"
FILE, *BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.M | re.S)
"""The whole config file with which the page begins, and the blocks that share their names."""

CONFIG = """
from ml_collections import ConfigDict

from rosecd_jax.config import to_dict
from rosecd_jax.losses import DistillationConfig
from rosecd_jax.training import CheckpointConfig, ValidationConfig

size = NCSNppConfig(channels=4, multipliers=(1,), blocks=1, attention_heights=(), bins=32)


def get_config():
    return ConfigDict(to_dict(TrainConfig(
        model=ModelConfig(front_end=FrontEnd(n_fft=62, hop=16), sde=OUVE(steps=2), {model}),
        data=LoaderConfig(path="{corpus}", frames=16, batch_size=2),
        distillation=DistillationConfig(steps=3, pesq_weight=0.0),
        validation=ValidationConfig(every=0),
        checkpoints=CheckpointConfig(every=1),
        log_every=1,
        steps=2,
        {more}
    )))
"""
GET_FUNCTIONS = """

def get_functions(config):
    return Functions({})
"""
ROLES = {
    "loss": ("A loss", "loss=l1_loss(config, weight=0.5)", "l1_loss.<locals>.loss {'weight': 0.5}"),
    "teacher_step": ("A solver", "teacher_step=midpoint", "my_teacher_step:midpoint"),
    "optimizer": (
        "An optimizer",
        "optimizer=functools.partial(optax.contrib.muon, learning_rate=1e-3)",
        "_muon:muon {'learning_rate': 0.001}",
    ),
    "network": ("A network", "network=UNet()", "my_network:UNet(widths=[8, 16])"),
}
"""Of each role: the page's heading, what the config file gives, and what `rosecd info` shows."""


def block_below(heading: str) -> str:
    """The first block of code below a heading."""
    found = re.search(rf"^## {heading}\n.*?^```python\n(.*?)^```", PAGE.read_text(), re.M | re.S)
    assert found
    return found[1]


def imports() -> str:
    """The page's import statements."""
    return "".join(line for line in BLOCKS[0].splitlines(True) if line.startswith(("import ", "from ")))


def extension(heading: str) -> str:
    """A block without its last line, which puts it into `Functions`."""
    return block_below(heading).rpartition("with_")[0]


def write_configs(folder: Path, corpus: Path) -> Path:
    """`my_ROLE.py` for each role, and `my_teacher.py`; the student's teacher is `runs/teacher`."""
    ours = {"corpus": corpus, "model": "network=size", "more": ""}
    (folder / "my_teacher.py").write_text(imports() + CONFIG.format(**ours))
    for role, (heading, words, _) in ROLES.items():
        more = {}
        if role == "teacher_step":
            more["more"] = 'objective="distillation", teacher="runs/teacher",'
            more["model"] = 'role="student", network=size'
        if role == "network":
            more["model"] = "own_network=OwnNetwork.of(UNet())"
        text = imports() + extension(heading) + CONFIG.format(**(ours | more)) + GET_FUNCTIONS.format(words)
        (folder / f"my_{role}.py").write_text(text)
    return folder


def rosecd(*words: object) -> str:
    """Run a command that has to succeed; returns what it prints."""
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, f"{done.output}\n{done.exception}"
    return done.output
