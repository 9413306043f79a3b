"""Networks that are not this package's: what is taken, what is noted, and what is refused."""

import dataclasses
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rosecd_jax import load_checkpoint, save_checkpoint
from rosecd_jax.conversion import save_torch_checkpoint
from rosecd_jax.conversion.torch_file import TorchFileError
from rosecd_jax.models import ModelConfig, OwnNetwork, ScoreModel
from rosecd_jax.models.checkpoint import CheckpointError, open_checkpoint
from tests.helpers import TINY

KEY = jax.random.key(0)


class Small(nn.Module):
    width: int = 4
    activation: Callable[[jax.Array], jax.Array] = nn.silu
    stride: int = 2

    @nn.compact
    def __call__(self, x, t):
        return nn.Dense(2)(self.activation(nn.Dense(self.width)(x)) + t[:, None, None, None])


class BatchNormed(nn.Module):
    @nn.compact
    def __call__(self, x, t):
        return nn.BatchNorm(use_running_average=False)(nn.Dense(2)(x))


class OneChannel(nn.Module):
    @nn.compact
    def __call__(self, x, t):
        return nn.Dense(1)(x)


class Empty(nn.Module):
    @nn.compact
    def __call__(self, x, t):
        return x[..., :2]


class WithoutElements(nn.Module):
    @nn.compact
    def __call__(self, x, t):
        self.param("nothing", nn.initializers.zeros, (0, 3))
        return nn.Dense(2)(x)


class WithArray(nn.Module):
    table: object = None

    @nn.compact
    def __call__(self, x, t):
        return nn.Dense(2)(x)


def own(network: nn.Module) -> ScoreModel:
    return ScoreModel(ModelConfig(), network)


def test_a_model_notes_its_network():
    model = own(Small(width=8))
    noted = model.config.own_network
    assert noted == OwnNetwork.of(Small(8))
    assert str(noted).startswith(f"{__name__}:Small(width=8, activation=")
    assert "silu" in str(noted)
    assert model.config.stride == 2
    assert ScoreModel(model.config, Small(width=8)) == model


def test_a_class_that_moved_is_still_the_same():
    noted = OwnNetwork.of(Small())
    moved = {"name": "elsewhere:Small", "settings": noted.settings.replace("jax._src.nn", "jax.moved")}
    assert noted.same(dataclasses.replace(noted, **moved))
    assert not noted.same(dataclasses.replace(noted, name="elsewhere:Smaller"))


def test_a_model_denoises_by_its_network():
    model = own(Small())
    params = model.init(KEY)
    y = jnp.ones((3, model.front_end.bins, 4), jnp.complex64)
    denoised = jax.jit(model.denoise)(params, y, y, jnp.ones(3))
    assert denoised.shape == y.shape
    with pytest.raises(ValueError, match="multiples of 2"):
        model.denoise(params, y[..., :3], y[..., :3], jnp.ones(3))


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (BatchNormed(), "batch_stats"),
        (OneChannel(), r"\(1, 256, 1, 2\)"),
        (Empty(), "no parameters"),
        (WithoutElements(), r"'nothing'.*\(0, 3\)"),
    ],
)
def test_a_network_that_cannot_be_a_models_is_refused_before_it_is_saved(network, words, tmp_path):
    model = own(network)
    with pytest.raises(ValueError, match=words):
        model.init(KEY)
    with pytest.raises(ValueError, match=words):
        save_checkpoint(tmp_path / "model", model, {"Dense_0": {"kernel": np.ones((4, 2), np.float32)}})
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("network", "words"), [(WithArray(np.ones(2)), "hashed"), ("UNet", "Module"), (Small(stride=0), "stride")]
)
def test_what_is_no_network_is_refused(network, words):
    with pytest.raises(ValueError, match=words):
        OwnNetwork.of(network)


def test_a_checkpoint_wants_its_network_again(tmp_path):
    model = own(Small(width=8))
    params = model.init(KEY)
    path = save_checkpoint(tmp_path / "model", model, params)
    again, loaded = load_checkpoint(path, network=Small(width=8))
    assert again == model
    jax.tree.map(np.testing.assert_array_equal, loaded, params)
    stored = open_checkpoint(path)
    assert jax.tree.map(lambda leaf: leaf.shape, stored.shapes()) == jax.tree.map(jnp.shape, params)
    with pytest.raises(CheckpointError, match=f"{__name__}:Small.*not part of the package"):
        load_checkpoint(path)
    with pytest.raises(CheckpointError, match=r"width=8.*width=4"):
        load_checkpoint(path, network=Small())
    with pytest.raises(CheckpointError, match="OneChannel"):
        load_checkpoint(path, network=OneChannel())


def test_the_packages_network_takes_no_other(tmp_path):
    path = save_checkpoint(tmp_path / "model", TINY, TINY.init(KEY))
    with pytest.raises(CheckpointError, match="leave `network` out"):
        load_checkpoint(path, network=Small())


def test_the_authors_code_lacks_it(tmp_path):
    model = own(Small())
    with pytest.raises(TorchFileError, match="Small"):
        save_torch_checkpoint(tmp_path / "model.ckpt", model, model.init(KEY))
