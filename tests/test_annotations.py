"""The shapes in annotations: the tests' calls are held against them, see conftest.py."""

import sys

import jax
import jax.numpy as jnp
import pytest
from jaxtyping import TypeCheckError

from rosecd_jax.audio.stft import stft
from rosecd_jax.diffusion import OUVE
from rosecd_jax.losses import neg_si_sdr
from rosecd_jax.models.layers import upsample
from tests.helpers import random_spectrogram

X, TIMES = random_spectrogram(2, 8, 5), jnp.array([0.2, 0.9])
WRONG = {
    "another shape than x0": lambda: OUVE().mean(X, X[..., :4], TIMES),
    "three times for two items": lambda: OUVE().mean(X, X, jnp.ones(3)),
    "real for complex": lambda: OUVE().drift(X, X.real, TIMES),
    "complex for real": lambda: stft(X),
    "three axes for four": lambda: upsample(jnp.ones((2, 4, 4))),
    "one wave for a batch": lambda: neg_si_sdr(jnp.ones(800), jnp.ones(800)),
}


@pytest.mark.parametrize("call", WRONG.values(), ids=WRONG)
def test_a_wrong_array_is_refused(call):
    with pytest.raises(TypeCheckError, match="Type-check error whilst checking the parameters"):
        call()


def test_a_wrong_shape_is_refused_while_it_is_traced():
    with pytest.raises(TypeCheckError, match="Actual value: c64"):
        jax.eval_shape(OUVE().mean, X, X[..., :4], TIMES)


@pytest.mark.parametrize("room", ["audio.stft", "diffusion", "losses", "models"])
def test_every_module_of_these_rooms_is_checked(room):
    modules = [module for name, module in sys.modules.items() if f"{name}.".startswith(f"rosecd_jax.{room}.")]
    assert modules
    for module in modules:
        assert "jaxtyping" in vars(module), f"{module.__name__} was imported outside of the hook"
