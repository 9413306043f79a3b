"""docs/research.md: its code runs, in order, and shows what it says."""

import contextlib
import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rosecd_jax import ScoreModel
from rosecd_jax.cli.train import read_config, read_functions
from rosecd_jax.diffusion import samplers, solvers
from rosecd_jax.training.functions import described
from tests.research import BLOCKS, FILE, PAGE, block_below


@pytest.mark.parametrize(
    ("heading", "most"), [("A loss", 15), ("A solver", 15), ("An optimizer", 5), ("A network", 40)]
)
def test_an_extension_is_short(heading, most):
    assert len([line for line in block_below(heading).splitlines() if line.strip()]) <= most


def test_the_file_at_the_beginning_is_a_training_config(tmp_path):
    (tmp_path / "my.py").write_text(FILE)
    config = read_config(str(tmp_path / "my.py"), ["--config.data.path=corpus"])
    assert config.data.path == "corpus"
    notes = described(read_functions(str(tmp_path / "my.py"), config))
    assert notes["optimizer"]["settings"] == {"learning_rate": 1e-3}


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """What the names of the page stand for after its last block."""
    values, text = {"__name__": "research"}, PAGE.read_text()
    folder = tmp_path_factory.mktemp("research")
    with contextlib.chdir(folder):
        for block in BLOCKS:
            line = text[: text.index(block)].count("\n")
            exec(compile("\n" * line + block, str(PAGE), "exec"), values)
    return values | {"workdir": folder / values["workdir"]}


def test_every_block_runs(names):
    assert list(names["workdir"].glob("profile/**/*.xplane.pb"))
    assert names["enhanced"].shape == names["waves"].noisy[0].shape
    assert int(names["state"].step) == 11


def test_a_sampler_of_predictor_steps_is_the_one_of_the_package(names):
    model, params, y, keys = (names[name] for name in ("model", "params", "y", "keys"))
    noise = names["noise_source"](keys, *y.shape[1:])
    expected = samplers.predictor_only(names["score_fn"], model.sde, y, noise, 3)
    found = names["sample"](model, solvers.reverse_diffusion, 3, params, y, keys)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("solver", ["ralston", "heun"])
def test_a_solver_of_ones_own_is_exact_as_its_order(names, solver):
    """On a score that makes the probability flow linear in x, halving the step quarters the error."""
    sde = names["model"].sde
    step = names["ralston"] if solver == "ralston" else solvers.heun

    def end(steps):
        x, times = jnp.ones((1, 2, 2), jnp.complex64), jnp.linspace(1.0, 0.5, steps + 1)
        for t, t_next in itertools.pairwise(times):
            x = step(lambda x, y, t: -x, sde, x, 0 * x, jnp.full(1, t), t_next - t, 0 * x)[1]
        return x

    exact = end(64)
    coarse, fine = (np.abs(end(steps) - exact).max() for steps in (4, 8))
    assert 3 < coarse / fine < 5


def test_sampling_gives_a_finite_wave(names):
    assert names["sampled"].shape == names["waves"].noisy.shape
    assert np.isfinite(names["sampled"]).all()
    assert np.isfinite(names["corrected"]).all()


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
