"""A loss, solver, optimizer and network of one's own, by `rosecd train`, from outside the repository."""

import os
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from typer.testing import CliRunner

from rosecd_jax import Enhancer, load_checkpoint
from rosecd_jax.audio import io
from rosecd_jax.cli import app
from rosecd_jax.export.program import export_model
from rosecd_jax.models.checkpoint import CheckpointError
from tests.research import extension, imports

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


@pytest.fixture(scope="module")
def folder(tmp_path_factory, corpus):
    """A directory outside the repository, with a config file for each of the four, and one for a teacher."""
    folder = tmp_path_factory.mktemp("outside")
    ours = {"corpus": corpus, "model": "network=size", "more": ""}
    (folder / "my_teacher.py").write_text(imports() + CONFIG.format(**ours))
    for role, (heading, words, _) in ROLES.items():
        more = {"corpus": corpus}
        if role == "teacher_step":
            more["more"] = 'objective="distillation", teacher="runs/teacher",'
            more["model"] = 'role="student", network=size'
        if role == "network":
            more["model"] = "own_network=OwnNetwork.of(UNet())"
        text = imports() + extension(heading) + CONFIG.format(**(ours | more)) + GET_FUNCTIONS.format(words)
        (folder / f"my_{role}.py").write_text(text)
    return folder


def rosecd(*words: object) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, f"{done.output}\n{done.exception}"
    return done.output


def train(role: str, *overrides: str) -> str:
    return rosecd("train", "--config", f"my_{role}.py", "--workdir", f"runs/{role}", *overrides)


def killed(role: str, folder) -> int:
    """Train in a process that is killed once it has made two steps; returns the last one on disk."""
    words = ["train", "--config", f"my_{role}.py", "--workdir", f"runs/{role}", "--config.steps=100000"]
    process = subprocess.Popen([sys.executable, "-m", "rosecd_jax.cli", *words], cwd=folder)
    steps = folder / "runs" / role / "checkpoints"
    deadline = time.monotonic() + 300
    while not any(int(p.name) > 1 for p in steps.glob("*") if p.name.isdigit()):
        assert process.poll() is None, "ended by itself"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    return max(int(p.name) for p in steps.glob("*") if p.name.isdigit())


@pytest.mark.slow
@pytest.mark.parametrize("role", ["loss", "optimizer", "teacher_step"])
def test_a_function_of_ones_own_trains_resumes_and_is_enhanced_with(role, folder, corpus, monkeypatch):
    monkeypatch.chdir(folder)
    if role == "teacher_step":
        train("teacher", "--config.steps=1")
    log = train(role)
    assert f"{role}: " in log
    assert ("l1 " in log) == (role == "loss")
    assert "resumed at step 2" in train(role, "--config.steps=3")
    assert ROLES[role][2] in rosecd("info", f"runs/{role}")
    noisy = corpus / "valid" / "noisy" / "0.wav"
    rosecd("enhance", noisy, f"{role}.wav", "--checkpoint", f"runs/{role}", "--steps", 1)
    assert io.read(f"{role}.wav").wave.shape == io.read(noisy).wave.shape


@pytest.mark.slow
def test_a_run_is_not_resumed_with_another_function(folder, monkeypatch):
    monkeypatch.chdir(folder)
    train("teacher", "--config.steps=1")
    words = ["train", "--config", "my_loss.py", "--workdir", "runs/teacher"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 1
    assert "functions.loss" in done.output


@pytest.mark.slow
def test_a_network_of_ones_own_is_trained_killed_resumed_and_used_everywhere(folder, corpus, monkeypatch):
    monkeypatch.chdir(folder)
    last = killed("network", folder)
    assert f"resumed at step {last}" in train("network", f"--config.steps={last + 1}")
    described = rosecd("info", "runs/network", "--parameters")
    assert ROLES["network"][2] in described
    assert "Conv_0" in described
    with pytest.raises(CheckpointError, match=r"my_network:UNet.*not part of the package"):
        load_checkpoint("runs/network")
    sys.path.append(str(folder))
    from my_network import UNet  # pyright: ignore[reportMissingImports]

    with pytest.raises(CheckpointError, match="widths"):
        load_checkpoint("runs/network", network=UNet((8, 8)))
    model, params = load_checkpoint("runs/network", network=UNet())
    assert model.config.stride == 2

    noisy = corpus / "valid" / "noisy" / "0.wav"
    words = ["--checkpoint", "runs/network", "--network", "my_network.py:UNet", "--steps", 1]
    rosecd("enhance", noisy, "network.wav", *words)
    wave = io.read(noisy).wave[0]
    enhancer = Enhancer.from_checkpoint("runs/network", network=UNet(), steps=1)
    enhanced = enhancer(wave, 16_000)
    np.testing.assert_allclose(io.read("network.wav").wave[0], enhanced, atol=1e-5)
    stream = enhancer.stream()
    late = np.concatenate([stream.push(wave), stream.flush()])
    assert np.isfinite(late).all()
    exported = export_model("exported", model, params, enhancer.sampler, platforms=("cpu",))
    sys.path.append(str(folder))
    from exported.load import load  # pyright: ignore[reportMissingImports]

    assert exported.is_dir()
    np.testing.assert_allclose(load()(wave), enhanced, atol=1e-4)
    assert jax.tree.structure(params) == jax.tree.structure(enhancer.params)
