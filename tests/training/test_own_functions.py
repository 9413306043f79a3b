"""Custom loss, solver, optimizer and network with `rosecd train`, from outside the repository."""

import sys

import jax
import numpy as np
import pytest
from typer.testing import CliRunner

from rosecd_jax import Enhancer, load_checkpoint
from rosecd_jax.audio import io
from rosecd_jax.cli import app
from rosecd_jax.export.program import export_model
from rosecd_jax.models.checkpoint import CheckpointError
from tests.research import ROLES, rosecd, write_configs


@pytest.fixture(scope="module")
def folder(tmp_path_factory, corpus):
    """A directory outside the repository, with a config file for each of the four, and one for a teacher."""
    return write_configs(tmp_path_factory.mktemp("outside"), corpus)


def train(role: str, *overrides: str) -> str:
    return rosecd("train", "--config", f"my_{role}.py", "--workdir", f"runs/{role}", *overrides)


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
def test_a_network_of_ones_own_is_trained_resumed_and_used_everywhere(folder, corpus, monkeypatch):
    monkeypatch.chdir(folder)
    train("network")
    assert "resumed at step 2" in train("network", "--config.steps=3")
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


@pytest.mark.slow
def test_a_network_of_ones_own_is_trained_further_given_again(folder, corpus, monkeypatch):
    monkeypatch.chdir(folder)
    train("network")
    pairs = corpus / "train"
    words = ["finetune", "runs/network", "mine", "--speech", pairs / "clean", "--noise", pairs / "noisy"]
    words = [str(word) for word in [*words, "--steps", 1, "--batch-size", 1, "--files", 1]]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 1
    assert "runs/network" in done.output
    assert "--network FILE.py:NAME" in done.output
    assert not (folder / "mine").exists()
    network = ["--network", "my_network.py:UNet"]
    assert "-c mine --network my_network.py:UNet" in rosecd(*words, *network)
    assert ROLES["network"][2] in rosecd("info", "mine")
    assert "change" in rosecd(*words, *network)  # resumed, at its end
