"""docs/research.md: its code runs, in order, and shows what it says."""

import dataclasses

import jax
import numpy as np
import pytest

from rosecd_jax import ScoreModel
from tests.research import BLOCKS, PAGE, block_below


@pytest.mark.parametrize(
    ("heading", "most"), [("A loss", 15), ("A solver", 15), ("An optimizer", 5), ("A network", 40)]
)
def test_an_extension_is_short(heading, most):
    assert len([line for line in block_below(heading).splitlines() if line.strip()]) <= most


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """What the names of the page stand for after its last block."""
    values = {"workdir": tmp_path_factory.mktemp("research"), "__name__": "research"}
    text = PAGE.read_text()
    for block in BLOCKS:
        line = text[: text.index(block)].count("\n")
        exec(compile("\n" * line + block, str(PAGE), "exec"), values)
    return values


def test_every_block_runs(names):
    assert list(names["workdir"].glob("profile/**/*.xplane.pb"))
    assert names["enhanced"].shape == names["waves"].noisy[0].shape
    assert int(names["state"].step) == 11


def test_seeds_go_their_own_ways(names):
    assert names["states"].step.tolist() == [1, 1]
    for leaf in jax.tree.leaves(names["states"].params):
        assert np.isfinite(leaf).all()
    kernels = [leaf for leaf in jax.tree.leaves(names["states"].params) if leaf.ndim == 5]
    assert all((leaf[0] != leaf[1]).any() for leaf in kernels)


def test_weights_come_back_from_a_flat_file(names):
    again = names["model"].init(jax.random.key(0))
    for left, right in zip(jax.tree.leaves(again), jax.tree.leaves(names["params"]), strict=True):
        np.testing.assert_array_equal(left, right)


def test_the_gradient_with_respect_to_the_wave_is_of_its_shape(names):
    assert names["saliency"].shape == names["waves"].noisy.shape
    assert np.abs(names["saliency"]).max() > 0


def test_rematerialization_has_no_forward_mode(names):
    config = names["config"].model
    network = dataclasses.replace(config.network, remat=True)
    model, y, t = ScoreModel(dataclasses.replace(config, network=network)), names["y"], names["t"]
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(lambda x: model.denoise(names["params"], x, y, t), (y,), (y,))
