"""The published size: 65.6 M parameters are converted quickly, in little memory, and mean what they did."""

import collections
import json
import subprocess
import sys
import zlib

import jax
import numpy as np
import pytest

from rosecd_jax.conversion import load_torch_checkpoint, params_from_torch
from rosecd_jax.conversion.hyper_parameters import hyper_parameters_from_config
from rosecd_jax.conversion.parameters import parameter_shapes
from rosecd_jax.conversion.torch_file import read_torch_file, write_torch_file
from rosecd_jax.diffusion.preconditioning import Preconditioning
from rosecd_jax.models import ModelConfig, NCSNppConfig
from tests.conversion import hostile
from tests.goldens import packing
from tests.goldens.packing import golden
from tests.helpers import FIXTURES, NETWORK, fixture, random_spectrogram, relative_error

pytestmark = pytest.mark.slow

STUDENT = ModelConfig(role="student", preconditioning=Preconditioning(c_in="1"))
COUNT = 65_590_822

CONVERT = f"""
import json, sys, time, zlib
import jax
from rosecd_jax.conversion import load_torch_checkpoint
{hostile.PEAK_MEMORY}
start = time.process_time()
model, params = load_torch_checkpoint(sys.argv[1])
sums = {{kind: [zlib.crc32(leaf.data) for leaf in jax.tree.leaves(tree)] for kind, tree in params.items()}}
print(json.dumps([sums, time.process_time() - start, peak_memory()]))
"""


def test_the_published_size_converts_quickly_and_in_little_memory(tmp_path):
    config = NCSNppConfig()
    generator = np.random.default_rng(0)
    raw, ema = (
        {name: generator.random(shape, np.float32) for name, shape in parameter_shapes(config).items()}
        for _ in range(2)
    )
    assert sum(array.size for array in raw.values()) == COUNT
    contents = {
        "state_dict": {f"dnn.{name}": array for name, array in raw.items()},
        "hyper_parameters": hyper_parameters_from_config(ModelConfig(network=config)),
        "ema": {"shadow_params": list(ema.values())},
    }
    path = write_torch_file(tmp_path / "full.ckpt", contents)
    command = [sys.executable, "-c", CONVERT, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    path.unlink()
    sums, seconds, memory = json.loads(done.stdout)
    assert memory < 1.2e9  # 0.53 GB are the result
    assert seconds < 60
    for kind, state in (("raw", raw), ("ema", ema)):
        leaves = jax.tree.leaves(params_from_torch(state, config))
        assert sums[kind] == [zlib.crc32(leaf.data) for leaf in leaves]


def random_state(torch, config):
    """A state dict in which every array counts and whose network neither explodes nor fades."""
    state = collections.OrderedDict()
    for name, shape in parameter_shapes(config).items():
        numbers = torch.randn(shape)
        if name == "all_modules.0.W":
            state[name] = 16 * numbers
        elif len(shape) == 1:
            is_scale = name.endswith("weight")
            state[name] = 0.1 * numbers + (1 if is_scale else 0)
        else:
            inputs = shape[0] if name.endswith(".W") else np.prod(shape[1:])
            state[name] = numbers / float(inputs) ** 0.5
    return state


def test_the_network_in_pytorch_is_the_authors():
    torch = pytest.importorskip("torch")
    from tests.conversion import torch_network

    config = NCSNppConfig(channels=4, multipliers=(1,), blocks=1, attention_heights=())
    tensors = read_torch_file(FIXTURES / "tiny_student.ckpt")["state_dict"]
    state = {name.removeprefix("dnn."): torch.tensor(t.read()) for name, t in tensors.items()}
    arrays = fixture("tiny_student")
    inputs = [torch.from_numpy(arrays[name]) for name in ("x_t", "y", "t")]
    found = torch_network.denoise(state, config, *inputs)
    assert relative_error(found, arrays["denoised_raw"]) < 1e-5


def test_the_network_in_pytorch_is_the_authors_on_all_levels(speech):
    torch = pytest.importorskip("torch")
    from tests.conversion import torch_network

    arrays = golden("network")
    inputs = [torch.from_numpy(array) for array in (arrays["x_t"], speech.y[1:], arrays["t"])]
    for name, run in (("student", torch_network.denoise), ("teacher", torch_network.raw)):
        state = {key: torch.from_numpy(array) for key, array in packing.network(name)[0].items()}
        expected = arrays["denoised_student" if name == "student" else "raw_teacher"]
        assert relative_error(run(state, NETWORK, *inputs), expected) < 1e-5


def test_random_weights_of_pytorch_give_what_pytorch_makes_of_them(tmp_path):
    torch = pytest.importorskip("torch")
    from tests.conversion import torch_network

    torch.manual_seed(0)
    network = STUDENT.network
    raw, ema = random_state(torch, network), random_state(torch, network)
    assert sum(tensor.numel() for tensor in ema.values()) == COUNT
    checkpoint = {
        "global_step": 7,
        "state_dict": {f"dnn.{name}": torch.nn.Parameter(tensor) for name, tensor in raw.items()},
        "hyper_parameters": hyper_parameters_from_config(STUDENT),
        "ema": {"decay": 0.999, "num_updates": 7, "shadow_params": list(ema.values())},
    }
    torch.save(checkpoint, tmp_path / "full.ckpt")
    del checkpoint, raw
    model, params = load_torch_checkpoint(tmp_path / "full.ckpt")
    (tmp_path / "full.ckpt").unlink()
    assert model.config == STUDENT

    x_t, y = (random_spectrogram(1, 256, 256, seed=seed) for seed in (1, 2))
    t = np.array([0.6], np.float32)
    with torch.no_grad():
        expected = torch_network.denoise(ema, network, *map(torch.from_numpy, (x_t, y, t)))
    found = jax.jit(model.denoise)(params["ema"], x_t, y, t)
    assert relative_error(found, expected) < 1e-4
