"""A command whose package is missing names the extra that brings it, in one line."""

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rosecd_jax.cli import app
from rosecd_jax.extras import extra

DATA = Path(__file__).parents[1] / "examples" / "recordings"


@pytest.mark.parametrize(
    ("package", "words", "name"),
    [
        ("ml_collections", ["train", "--config=demo", "--workdir=OUT"], "train"),
        ("ml_collections", ["convert", "FILE", "OUT", "--hyper-parameters", "demo.py"], "train"),
        ("tensorflow_datasets", ["prepare", "folder", "OUT", "OUT"], "train"),
        ("pystoi", ["evaluate", "DATA", "--enhanced", "DATA/clean"], "eval"),
        ("espeakng_loader", ["prepare", "synthetic", "OUT"], "demo"),
    ],
)
def test_a_missing_package_is_named_with_its_extra(monkeypatch, tmp_path, package, words, name):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, "rosecd_jax.data.builders", raising=False)
    (tmp_path / "file").write_bytes(b"")
    places = {"OUT": str(tmp_path / "out"), "FILE": str(tmp_path / "file"), "DATA": str(DATA)}
    for place, path in places.items():
        words = [word.replace(place, path) for word in words]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("rosecd:")]
    assert line.endswith(f"needs {package}: pip install 'rosecd-jax[{name}]'")
    assert not (tmp_path / "out").exists()


def test_other_errors_pass_as_they_are():
    with pytest.raises(ImportError, match="cannot import name"), extra("train", "this"):
        from math import nothing_of_that_name  # noqa: F401
    with pytest.raises(ZeroDivisionError), extra("train", "this"):
        print(1 / 0)
