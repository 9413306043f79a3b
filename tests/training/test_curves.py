"""rosecd_jax.training.curves: what Weights & Biases gets, by its own program without a network."""

import sys

import numpy as np
import pytest

from rosecd_jax.training.curves import ManyCurves, WandbCurves


@pytest.fixture
def offline(monkeypatch, tmp_path):
    pytest.importorskip("wandb")
    for name, value in {
        "MODE": "offline",
        "SILENT": "true",
        "CONFIG_DIR": str(tmp_path / "settings"),
    }.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    return tmp_path / "run"


def test_a_run_is_written_and_gone_on_with_under_the_same_name(offline):
    for step in (1, 2):
        curves = ManyCurves(ManyCurves(), WandbCurves(offline, "project", {"learning_rate": 1e-3}))
        curves.scalars({"train/loss": 0.125}, step)
        curves.sound("example_0/noisy", np.full(1600, 2.0, np.float32), 16_000, step)
        curves.picture("example_0/spectrograms", np.zeros((4, 5, 3), np.uint8), step)
        curves.close()
    identity = (offline / "wandb-run-id").read_text()
    stored = list((offline / "wandb").rglob("*.wandb"))
    assert stored
    assert all(identity in file.name for file in stored)
    content = b"".join(file.read_bytes() for file in stored)
    assert b"train/loss" in content
    assert b"learning_rate" in content
    media = {file.suffix for file in (offline / "wandb").rglob("media/**/*")}
    assert {".wav", ".png"} <= media


def test_without_the_package_the_remedy_is_said(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ImportError, match=r"pip install 'rosecd-jax\[wandb\]'"):
        WandbCurves(tmp_path, "project", {})
