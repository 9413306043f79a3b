"""The tiny checkpoint written by the authors' class, and its parts that tests compare and change."""

import numpy as np

from rosecd_jax.conversion.torch_file import read_torch_file
from rosecd_jax.diffusion.preconditioning import Preconditioning
from rosecd_jax.models import ModelConfig, NCSNppConfig
from tests.helpers import FIXTURES, flat

TINY = FIXTURES / "tiny_student.ckpt"
"""Written by Lightning out of the authors' class; see fixtures/make_torch_fixture.py."""
TINY_CONFIG = ModelConfig(
    role="student",
    preconditioning=Preconditioning(c_in="1"),
    network=NCSNppConfig(channels=4, multipliers=(1,), blocks=1, attention_heights=()),
)
STATE, HYPER = "state_dict", "hyper_parameters"


def equal(left, right):
    """Whether two trees of parameters are equal, bit for bit."""
    left, right = flat(left), flat(right)
    return left.keys() == right.keys() and all(
        left[name].dtype == right[name].dtype and np.array_equal(left[name], right[name]) for name in left
    )


def contents():
    """The tiny checkpoint with its numbers read, to be changed and written again."""
    tree = read_torch_file(TINY)
    del tree["hyper_parameters"]["data_module_cls"]
    tree["state_dict"] = {name: tensor.read() for name, tensor in tree["state_dict"].items()}
    tree["ema"]["shadow_params"] = [tensor.read() for tensor in tree["ema"]["shadow_params"]]
    return tree
