"""configs/: every file, with every argument, makes a run whose loss can be evaluated."""

import dataclasses
import importlib.util
from pathlib import Path

import jax
import numpy as np
import pytest

from rosecd_jax.cli.train import read_config
from rosecd_jax.losses import Batch
from rosecd_jax.models import ScoreModel
from rosecd_jax.training.config import TrainConfig
from rosecd_jax.training.step import make_loss

FOLDER = Path(__file__).parents[1] / "configs"


def arguments(file):
    """FILE.py, or FILE.py:VARIANT for each variant that it knows."""
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    variants = getattr(module, "VARIANTS", getattr(module, "PESQ_WEIGHTS", None))
    if file.stem == "demo":
        variants = ("teacher", "student")
    return [f"{file.name}:{variant}" for variant in variants] if variants else [file.name]


TRAINING = sorted(file for file in FOLDER.glob("*.py") if not file.name.startswith("eval_"))
EVERY = [name for file in TRAINING for name in arguments(file)]


def small(config):
    """The same run with a network that is traced quickly."""
    network = dataclasses.replace(config.model.network, channels=4, multipliers=(1, 1), blocks=1)
    return dataclasses.replace(config, model=dataclasses.replace(config.model, network=network))


@pytest.mark.parametrize("name", EVERY)
def test_every_config_makes_a_run_whose_loss_can_be_evaluated(name):
    config = small(read_config(str(FOLDER / name), []))
    model = ScoreModel(config.model)
    teacher = ScoreModel(config.model) if config.objective == "distillation" else None
    params = jax.eval_shape(model.init, jax.random.key(0))
    spectrogram = jax.ShapeDtypeStruct((2, config.model.network.bins, 64), np.complex64)
    loss, terms = jax.eval_shape(
        make_loss(config, model, teacher, "cpu"),
        params,
        params,
        params if teacher else {},
        Batch(spectrogram, spectrogram),
        jax.random.key(0),
    )
    assert loss.shape == ()
    assert "loss" in terms


@pytest.mark.parametrize("file", TRAINING, ids=lambda file: file.name)
def test_every_config_is_a_run_without_an_argument_too(file):
    assert read_config(str(file), []).steps > 0


@pytest.mark.parametrize(
    "file", ["rosecd_ablations.py", "small.py", "training_objectives.py", "rosecd_voicebank_student.py"]
)
def test_an_unknown_variant_is_refused_with_those_there_are(file):
    with pytest.raises(ValueError, match="'nobody': expected one of") as error:
        read_config(f"{FOLDER / file}:nobody", [])
    assert "Traceback" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "steps"), [("rosecd_voicebank_student", 100_000), ("small:teacher", None), ("demo:student", 300)]
)
def test_a_config_is_found_by_its_name_from_anywhere(name, steps, tmp_path, monkeypatch):
    stem, colon, argument = name.partition(":")
    by_path = read_config(f"{FOLDER / stem}.py{colon}{argument}", [])
    monkeypatch.chdir(tmp_path)
    assert read_config(name, []) == by_path
    assert by_path.steps == (steps or by_path.steps)


def test_an_unknown_name_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match="no config file rosecd_student; the package has demo, ") as error:
        read_config("rosecd_student", [])
    assert all(file.stem in str(error.value) for file in FOLDER.glob("*.py"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import nowhere_at_all", "line 1: ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("def get_config():\n    return undefined", "line 2: NameError: name 'undefined' is not defined"),
        ("def get_config():\n    raise KeyError('abc')", "line 2: KeyError: 'abc'"),
        ("def get_config():\n    raise ValueError('too few')", "line 2: ValueError: too few"),
        ("open('/nowhere/words.txt')", "FileNotFoundError|No such file or directory: '/nowhere/words.txt'"),
        ("def get_config():\n    raise SystemExit(3)", "line 2: SystemExit: 3"),
        ("def get_config():\n    return get_config()", "line 2: RecursionError"),
        ("def get_config(:", "SyntaxError: invalid syntax"),
        ("def get_config():\n    pass", "get_config\\(\\) returns a NoneType, expected a ConfigDict"),
    ],
)
def test_what_a_config_file_raises_is_told_with_its_name(text, words, tmp_path):
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(ValueError, match=rf"mine\.py: .*({words})"):
        read_config(str(tmp_path / "mine.py"), [])


def test_a_misspelt_value_is_refused_in_plain_words():
    words = r"demo\.py: the config has no value 'batchsize'\nDid you mean \"batch_size\""
    with pytest.raises(ValueError, match=words):
        read_config(str(FOLDER / "demo.py"), ["--config.data.batchsize=8"])


def test_the_processes_fields_can_be_set_on_the_command_line():
    file = str(FOLDER / "training_objectives.py")
    assert read_config(f"{file}:bridge", ["--config.model.sde.k=3.0"]).model.sde.k == 3.0
    assert read_config(f"{file}:denoiser", ["--config.model.sde.gamma=2.0"]).model.sde.gamma == 2.0


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"objective": "data-prediction"}, "'data-prediction' doesn't go with the process 'ouve'"),
        ({"objective": "distillation"}, "distillation needs a teacher"),
    ],
)
def test_runs_that_contradict_themselves_are_refused(overrides, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**overrides)


def test_a_bridge_is_distilled_by_a_bridges_solver():
    overrides = [
        f"--config.{field}"
        for field in ("objective=distillation", "teacher=runs/bridge", "model.role=student")
    ]
    file = str(FOLDER / "training_objectives.py:bridge")
    with pytest.raises(ValueError, match="'pc' doesn't go with the process 'sbve'"):
        read_config(file, overrides)
    config = read_config(file, [*overrides, "--config.distillation.solver=bridge-ode"])
    assert config.distillation.solver == "bridge-ode"
    with pytest.raises(ValueError, match="'score' doesn't go with the process 'sbve'"):
        read_config(file, ["--config.objective=score"])
