"""An export that can't be completed leaves nothing behind."""

import numpy as np
import pytest

from rosecd_jax import load_checkpoint
from rosecd_jax.export import ExportError, export_model
from tests.commands import save_student


@pytest.mark.slow
def test_a_failed_export_leaves_nothing(tmp_path, monkeypatch):
    def broken(*_, **__):
        raise OSError("no space left")

    model, params = load_checkpoint(save_student(tmp_path / "model"))
    before = sorted(tmp_path.iterdir())
    monkeypatch.setattr(np, "savez", broken)
    with pytest.raises(OSError, match="no space"):
        export_model(tmp_path / "out", model, params, platforms=["cpu"])
    assert sorted(tmp_path.iterdir()) == before
    with pytest.raises(ExportError, match="no platform"):
        export_model(tmp_path / "out", model, params, platforms=[])
