"""tests.fidelity: what makes a row agree, and that a row which differs is seen; the committed numbers."""

import numpy as np
import pytest

from rosecd_jax.diffusion import SBVE
from tests import fidelity
from tests.fidelity import Agree, compare, compare_gradients
from tests.goldens import packing
from tests.goldens.torch_random import TorchRandom


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
    theirs = {"a/kernel": np.array([100.0]), "b/kernel": np.array([0.1, 0.1])}
    ours = {"a/kernel": np.array([100.0]), "b/kernel": np.array([0.1, 0.12])}
    row = compare_gradients("gradient", ours, theirs)
    assert row.shape == (3,)
    assert row.relative == pytest.approx(0.2)
    assert not row.agrees


def test_a_gradient_that_is_only_rounding_is_taken_relative_to_the_largest():
    theirs = {"key/bias": np.array([1e-9]), "z/kernel": np.array([1.0])}
    row = compare_gradients("gradient", theirs | {"key/bias": np.array([-1e-9])}, theirs)
    assert row.relative == pytest.approx(2e-9)
    assert row.agrees
    with pytest.raises(AssertionError, match="key/bias is 1e-05 of the largest"):
        compare_gradients("gradient", theirs | {"key/bias": np.array([1e-5])}, theirs)


def test_a_row_that_differs_fails_its_test_and_is_in_the_table():
    arrays, properties = packing.golden("sde"), []
    agree, std = Agree(properties), SBVE().std(arrays["t"])
    agree("good", std, arrays["sbve_std"], fidelity.CLOSED_FORM)
    with pytest.raises(AssertionError, match="bad differs"):
        agree("bad", std, 1.001 * arrays["sbve_std"], fidelity.CLOSED_FORM)
    assert [name for name, _ in properties] == [fidelity.PROPERTY] * 2
    table = fidelity.table([row for _, row in properties])
    assert [line.split(" | ")[-1] for line in table.splitlines()[2:4]] == ["agrees |", "DIFFERS |"]
    assert table.endswith("1 of 2 agree")


def test_the_committed_numbers_take_at_most_8_mb():
    files = list(packing.HERE.glob("*.npz"))
    assert files
    assert sum(file.stat().st_size for file in files) < 8e6


def test_packing_loses_nothing():
    array = np.random.default_rng(0).normal(size=(3, 20)).astype(np.float32)
    array[0, :4] = 0.0, -0.0, np.inf, 1e-42
    assert packing.from_planes(packing.to_planes(array)).tobytes() == array.tobytes()
    predicted = np.roll(array, 1)
    assert packing.corrected(predicted, packing.ulps(array, predicted)).tobytes() == array.tobytes()


def test_the_random_numbers_are_pytorchs():
    """torch.manual_seed(0); torch.rand(2), or torch.randn(2), as PyTorch prints them."""
    np.testing.assert_allclose(TorchRandom(0).uniform(2), [0.4963, 0.7682], atol=5e-5)
    np.testing.assert_allclose(TorchRandom(0).normal(2), [1.5410, -0.2934], atol=5e-5)
    drawn = TorchRandom(0).normal(100_003)
    assert drawn.mean() == pytest.approx(0, abs=0.01)
    assert drawn.std() == pytest.approx(1, abs=0.01)


def test_the_entries_of_a_gradient_include_its_largest():
    gradient = np.arange(1000.0).reshape(10, 100)
    kept = packing.kept(gradient, 999)
    assert (kept[0], kept[-1], len(kept)) == (0, 999, 126)
    assert packing.kept(gradient[0], 99).size == 100
