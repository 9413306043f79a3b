"""Fixtures of the tests that enhance with a small network."""

import pytest

from rosecd_jax.inference import Enhancer
from tests.helpers import random_params
from tests.inference.small import MODEL


@pytest.fixture(scope="module")
def student() -> Enhancer:
    """The small student with weights of which each counts."""
    return Enhancer(MODEL, random_params(MODEL))
