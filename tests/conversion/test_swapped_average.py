"""Checkpoints that Lightning wrote while the averaged weights stood in the place of the raw ones."""

import pytest

from rosecd_jax.conversion import load_any_checkpoint, load_torch_checkpoint, parameter_names
from rosecd_jax.conversion.torch_file import write_torch_file
from tests.conversion.checkpoints import STATE, TINY, TINY_CONFIG, contents, equal


@pytest.mark.parametrize("frequencies", [True, False])
def test_a_file_written_while_the_average_was_swapped_in(tmp_path, frequencies):
    tree, expected = contents(), load_torch_checkpoint(TINY)[1]
    raw = [tree[STATE][f"dnn.{name}"] for name in parameter_names(TINY_CONFIG.network)]
    average = tree["ema"]["shadow_params"]
    for name, tensor in zip(parameter_names(TINY_CONFIG.network), average, strict=True):
        tree[STATE][f"dnn.{name}"] = tensor
    tree["ema"] |= {"collected_params": raw, "shadow_params": list(average)}
    if not frequencies:  # what isn't trained
        place = list(parameter_names(TINY_CONFIG.network)).index("all_modules.0.W")
        for name in ("collected_params", "shadow_params"):
            del tree["ema"][name][place]
        for kind in ("raw", "ema"):
            expected[kind]["time"]["frequencies"] = expected["ema"]["time"]["frequencies"]
    found = load_torch_checkpoint(write_torch_file(tmp_path / "x.ckpt", tree))[1]
    assert equal(found["raw"], expected["raw"])
    assert equal(found["ema"], expected["ema"])
    assert not equal(found["ema"], found["raw"])
    again = load_any_checkpoint(tmp_path / "x.ckpt", "raw")[1]
    assert equal(again, expected["raw"])
