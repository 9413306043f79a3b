"""rosecd verify: what makes a row agree, and that a row which differs is seen."""

import jax.numpy as jnp
import numpy as np
import pytest
from typer.testing import CliRunner

from rosecd_jax.cli import app
from rosecd_jax.evaluation import verify
from rosecd_jax.evaluation.comparison import compare, compare_gradients
from tests.helpers import FIXTURES, STUDENT, fixture


def test_a_difference_is_relative_to_their_largest_number():
    row = compare("x", np.array([1.0, 2.0, 40.0]), np.array([1.0, 3.0, 40.0]), 0.1)
    assert (row.absolute, row.relative, row.shape) == (1.0, 1 / 40, (3,))
    assert row.agrees
    assert not row._replace(tolerance=0.01).agrees


def test_a_nan_never_agrees():
    assert not compare("x", np.array([1.0, np.nan]), np.array([1.0, 2.0]), 1e9).agrees


def test_shapes_have_to_be_equal():
    with pytest.raises(ValueError, match=r"x: ours is \(2,\), theirs \(1, 2\)"):
        compare("x", np.ones(2), np.ones((1, 2)), 0.1)


def test_gradients_are_as_good_as_their_worst_array():
    theirs = {"a": {"kernel": np.array([100.0])}, "b": {"kernel": np.array([0.1, 0.1])}}
    ours = {"a": {"kernel": np.array([100.0])}, "b": {"kernel": np.array([0.1, 0.12])}}
    row = compare_gradients("gradient", ours, theirs)
    assert row.shape == (3,)
    assert row.relative == pytest.approx(0.2)
    assert not row.agrees


def test_a_gradient_that_is_only_rounding_is_taken_relative_to_the_largest():
    theirs = {"key": {"bias": np.array([1e-9])}, "z": {"kernel": np.array([1.0])}}
    row = compare_gradients("gradient", {"key": {"bias": np.array([-1e-9])}, "z": theirs["z"]}, theirs)
    assert row.relative == pytest.approx(2e-9)
    assert row.agrees


def test_the_processes_agree_with_the_committed_numbers_and_a_changed_one_is_seen():
    golden = {name: jnp.asarray(array) for name, array in fixture("sde").items()}
    assert all(row.agrees for row in verify.processes(golden))
    golden["sbve_std"] = golden["sbve_std"] * 1.001
    assert [row.quantity for row in verify.processes(golden) if not row.agrees] == ["process: sbve_std"]


def test_a_folder_without_the_numbers_is_refused(tmp_path):
    result = CliRunner().invoke(app, ["verify", str(tmp_path)])
    assert result.exit_code == 1
    assert "network.npz: no such file" in result.output


def test_a_checkpoint_of_another_model_is_refused():
    with pytest.raises(
        ValueError, match=r"tiny_student\.ckpt: its model is .*channels=4.*, expected .*channels=8"
    ):
        verify.converted(FIXTURES / "tiny_student.ckpt", STUDENT)


@pytest.mark.parametrize(("relative", "code"), [(1e-6, 0), (1e-3, 1)])
def test_the_command_fails_where_a_row_differs(tmp_path, monkeypatch, relative, code):
    rows = [compare("good", np.ones(2), np.ones(2), 1e-5)]
    rows.append(rows[0]._replace(quantity="other", relative=relative))
    monkeypatch.setattr(verify, "verify", lambda goldens: iter(rows))
    result = CliRunner().invoke(app, ["verify", str(tmp_path)])
    assert result.exit_code == code
    assert f"{2 - code} of 2 agree" in result.output
    assert ("DIFFERS" in result.output) == bool(code)
