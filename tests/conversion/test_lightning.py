"""rosecd_jax.conversion.lightning: conversion of the authors' checkpoints to models, and back."""

import dataclasses
import pickle
import sys

import jax
import ml_dtypes
import numpy as np
import pytest

from rosecd_jax.audio.stft import FrontEnd
from rosecd_jax.conversion import (
    TorchFileError,
    load_any_checkpoint,
    load_torch_checkpoint,
    open_torch_checkpoint,
    parameter_names,
    params_from_torch,
    save_torch_checkpoint,
)
from rosecd_jax.conversion.hyper_parameters import (
    SGMSE_PLUS,
    SGMSE_PLUS_BRIDGE,
    config_from_hyper_parameters,
    hyper_parameters_from_config,
)
from rosecd_jax.conversion.torch_file import read_torch_file, write_torch_file
from rosecd_jax.diffusion.preconditioning import Preconditioning
from rosecd_jax.diffusion.sde import OUVE, SBVE
from rosecd_jax.inference.enhancer import Enhancer
from rosecd_jax.models import ModelConfig, NCSNppConfig, ScoreModel
from rosecd_jax.models.checkpoint import load_checkpoint, save_checkpoint
from rosecd_jax.models.ncsnpp import NCSNPP, NCSNPP_48K
from tests import fidelity
from tests.conversion import hostile
from tests.conversion.checkpoints import HYPER, STATE, TINY, TINY_CONFIG, contents, equal
from tests.goldens import packing
from tests.goldens.packing import golden
from tests.helpers import (
    BRIDGE,
    NETWORK,
    STUDENT,
    TEACHER,
    fixture,
    flat,
    quick_jit,
    relative_error,
)


def test_a_checkpoint_of_theirs_becomes_a_model():
    model, params = load_torch_checkpoint(TINY)
    assert model == ScoreModel(TINY_CONFIG)
    assert set(params) == {"raw", "ema"}
    arrays, denoise = fixture("tiny_student"), quick_jit(model.denoise)
    for kind, tree in params.items():
        assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(tree))
        denoised = denoise(tree, arrays["x_t"], arrays["y"], arrays["t"])
        assert relative_error(denoised, arrays[f"denoised_{kind}"]) < 1e-4


def test_opening_reads_no_numbers():
    opened = open_torch_checkpoint(TINY)
    assert (opened.config, opened.step) == (TINY_CONFIG, 0)
    assert {kind: len(tensors) for kind, tensors in opened.weights.items()} == {"raw": 77, "ema": 77}
    assert list(opened.weights["raw"]) == list(parameter_names(TINY_CONFIG.network))


@pytest.mark.fidelity
@pytest.mark.parametrize(("name", "model"), [("teacher", TEACHER), ("student", STUDENT)])
def test_the_authors_checkpoints(agree, networks, torch_checkpoint, speech, request, name, model):
    loaded, params = load_torch_checkpoint(torch_checkpoint(name))
    assert loaded == model
    assert equal(params["raw"], networks[name])
    assert equal(params["ema"], params_from_torch(packing.network(name)[1], NETWORK))
    arrays, program = golden("network"), request.getfixturevalue(f"{name}_program")
    state = arrays["x_t"], speech.y[1:], arrays["t"]
    denoised = program(params["raw"], *state)["denoise"]
    agree(f"{name}.ckpt: denoised", denoised, arrays[f"denoised_{name}"], fidelity.NETWORK)
    if name == "student":
        denoised = program(params["ema"], *state)["denoise"]
        agree("student.ckpt: averaged", denoised, arrays["denoised_student_ema"], fidelity.NETWORK)


@pytest.mark.parametrize(
    ("name", "network", "front_end", "sde"),
    [
        ("ncsnpp", NCSNPP, FrontEnd(), OUVE()),
        ("ncsnpp_48k", NCSNPP_48K, FrontEnd(48_000, 1534, 384, 0.667, 0.065), OUVE(2.0, 0.1, 1.0)),
    ],
)
def test_the_authors_checkpoints_of_older_networks(torch_checkpoint, tmp_path, name, network, front_end, sde):
    model, params = load_torch_checkpoint(torch_checkpoint(name))
    assert model.config.network == dataclasses.replace(network, channels=8, blocks=1)
    assert (model.config.role, model.config.front_end, model.config.sde) == ("teacher", front_end, sde)
    weights, averages = packing.network(name)
    assert equal(params["raw"], params_from_torch(weights, model.config.network))
    assert equal(params["ema"], params_from_torch(averages, model.config.network))
    save_torch_checkpoint(tmp_path / "x.ckpt", model, params)
    again, found = load_torch_checkpoint(tmp_path / "x.ckpt")
    assert again == model
    assert equal(found["ema"], params["ema"])


def test_hyper_parameters_of_the_authors_bridge():
    """Another test compares this model's output with their numbers."""
    values = {"backbone": "ncsnpp_v2", "sde": "sbve", "loss_type": "data_prediction", "nf": 8, "t_eps": 1e-4}
    assert ScoreModel(config_from_hyper_parameters(values)) == BRIDGE


def test_a_bridge_goes_to_the_end_whatever_its_training_times_were():
    values = {"backbone": "ncsnpp_v2", "sde": "sbve", "loss_type": "data_prediction", "t_eps": 0.03}
    assert config_from_hyper_parameters(values).sde.t_eps == 1e-4


def test_ours_to_theirs_to_ours_is_equal_bit_for_bit(tmp_path):
    model, params = load_torch_checkpoint(TINY)
    save_torch_checkpoint(tmp_path / "x.ckpt", model, params)
    again, found = load_torch_checkpoint(tmp_path / "x.ckpt")
    assert again == model
    assert equal(found["raw"], params["raw"])
    assert equal(found["ema"], params["ema"])


def test_theirs_to_ours_to_theirs_is_equal_bit_for_bit(tmp_path):
    save_checkpoint(tmp_path / "ours", *load_torch_checkpoint(TINY))
    params = {kind: load_checkpoint(tmp_path / "ours", kind)[1] for kind in ("raw", "ema")}
    save_torch_checkpoint(tmp_path / "x.ckpt", load_checkpoint(tmp_path / "ours")[0], params)
    before, after = read_torch_file(TINY), read_torch_file(tmp_path / "x.ckpt")
    assert list(after["state_dict"]) == list(before["state_dict"])
    for name, tensor in before["state_dict"].items():
        np.testing.assert_array_equal(after["state_dict"][name].read(), tensor.read())
    pairs = zip(after["ema"]["shadow_params"], before["ema"]["shadow_params"], strict=True)
    assert all(np.array_equal(left.read(), right.read()) for left, right in pairs)
    for name, value in after["hyper_parameters"].items():
        assert before["hyper_parameters"].get(name, value) == value or name in ("batch_size", "num_frames")


def test_pytorch_loads_what_we_write_with_weights_only(tmp_path):
    torch = pytest.importorskip("torch")
    save_torch_checkpoint(tmp_path / "x.ckpt", *load_torch_checkpoint(TINY))
    loaded = torch.load(tmp_path / "x.ckpt", weights_only=True)
    original = read_torch_file(TINY)["state_dict"]
    assert list(loaded["state_dict"]) == list(original)
    for name, tensor in loaded["state_dict"].items():
        np.testing.assert_array_equal(tensor.numpy(), original[name].read())


@pytest.mark.parametrize("given", ["tree", "raw", "ema"])
def test_one_set_of_weights_stands_for_both(tmp_path, given):
    model, params = load_torch_checkpoint(TINY)
    save_torch_checkpoint(
        tmp_path / "x.ckpt", model, params["ema"] if given == "tree" else {given: params["ema"]}
    )
    found = load_torch_checkpoint(tmp_path / "x.ckpt")[1]
    assert equal(found["raw"], params["ema"])
    assert equal(found["ema"], params["ema"])


def test_the_role_survives_where_hyper_parameters_do_not_tell(tmp_path):
    model, params = load_torch_checkpoint(TINY)
    model = ScoreModel(dataclasses.replace(model.config, role="teacher"))
    save_torch_checkpoint(tmp_path / "x.ckpt", model, params)
    assert load_torch_checkpoint(tmp_path / "x.ckpt")[0] == model


@pytest.mark.parametrize("sde", [SBVE(t_eps=0.01), SBVE(), OUVE(t_eps=0.02)])
def test_the_last_time_and_an_snr_without_decimals_survive(tmp_path, sde):
    wrapped = Preconditioning(c_in="1", c_out="1", c_skip="0")
    config = dataclasses.replace(
        TINY_CONFIG, role="teacher", sde=sde, preconditioning=wrapped, corrector_snr=1
    )
    save_torch_checkpoint(tmp_path / "x.ckpt", ScoreModel(config), load_torch_checkpoint(TINY)[1])
    assert open_torch_checkpoint(tmp_path / "x.ckpt").config == config


def test_an_existing_file_is_only_replaced_when_told(tmp_path):
    model, params = load_torch_checkpoint(TINY)
    save_torch_checkpoint(tmp_path / "x.ckpt", model, params)
    with pytest.raises(TorchFileError, match=r"x\.ckpt exists"):
        save_torch_checkpoint(tmp_path / "x.ckpt", model, params)
    save_torch_checkpoint(tmp_path / "x.ckpt", model, params["raw"], overwrite=True)
    assert equal(load_torch_checkpoint(tmp_path / "x.ckpt")[1]["ema"], params["raw"])


def change(tree, path, value):
    *parts, last = path
    for part in parts:
        tree = tree[part]
    if value is None:
        del tree[last]
    else:
        tree[last] = value


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ((STATE, "dnn.all_modules.3.weight"), None, r"raw parameters missing: \['all_modules.3.weight'\]"),
        ((STATE, "dnn.all_modules.99.bias"), np.ones(3), r"unknown: \['all_modules.99.bias'\]"),
        (
            (STATE, "dnn.output_layer.bias"),
            np.ones(3),
            r"raw parameter output_layer.bias is \(3,\), the .* \(2,\)",
        ),
        ((STATE, "dnn.output_layer.bias"), np.ones(2, int), "output_layer.bias holds int64"),
        ((STATE, "dnn.output_layer.bias"), "text", "'output_layer.bias' is not a tensor"),
        (("ema", "shadow_params", 0), np.ones(3), r"ema parameter output_layer.weight is \(3,\)"),
        (("ema", "shadow_params", 5), None, "'ema' has 76 parameters|ema parameter"),
        (("ema", "shadow_params"), None, "no list 'shadow_params'"),
        ((STATE,), {"weight": np.ones(3)}, "begins with 'dnn.'"),
        ((STATE,), None, "no 'state_dict'"),
        ((STATE,), 5, "'state_dict' is a int"),
        ((HYPER,), None, "no 'hyper_parameters'"),
        ((HYPER, "backbone"), None, "'backbone' is missing"),
        (
            (HYPER, "backbone"),
            "gagnet",
            "'backbone' is 'gagnet'; expected one of ncsnpp_v2, ncsnpp, ncsnpp_48k",
        ),
        ((HYPER, "backbone"), [1], "'backbone' is a list"),
        ((HYPER, "sde"), "vp", "'sde' is 'vp'; expected one of ouve, sbve"),
        ((HYPER, "loss_type"), "data_prediction", "doesn't go with sde 'ouve'"),
        ((HYPER, "nf"), 8, r"is \(.*\), the network expects"),
        ((HYPER, "nf"), 4.5, "'nf' is 4.5"),
        ((HYPER, "nf"), 10**9, "'nf' is 1000000000"),
        ((HYPER, "hop_length"), 511, "'hop_length' is 511; expected a whole number from 1 to 510"),
        ((HYPER, "ch_mult"), [1, 1], "missing"),
        ((HYPER, "ch_mult"), [1] * 99, "at most 12"),
        ((HYPER, "ch_mult"), ["1"], "'ch_mult' is '1'"),
        ((HYPER, "sigma_min"), 0.0, "'sigma_min' is 0.0; expected a positive number"),
        ((HYPER, "sigma_min"), 0.7, r"sde\.sigma_max is 0\.5, it has to be above sde\.sigma_min, 0\.7"),
        ((HYPER, "theta"), "1.5", "'theta' is '1.5'; expected a number"),
        ((HYPER, "theta"), float("nan"), "'theta' is nan"),
        ((HYPER, "c_in"), "magic", "'c_in' is 'magic'"),
        ((HYPER, "network_scaling"), "t", "'network_scaling' is 't'"),
        ((HYPER, "window"), "sqrthann", "'window' is 'sqrthann'; expected 'hann'"),
        ((HYPER, "transform_type"), "log", "'transform_type'"),
        ((HYPER, "resblock_type"), "ddpm", "'resblock_type'"),
        ((HYPER, "progressive"), "none", "'progressive'"),
        ((HYPER, "scale_by_sigma"), False, "'scale_by_sigma' is False; expected True"),
        ((HYPER, "fir_kernel"), (1, 2, 1), "'fir_kernel'"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, path, value, words):
    tree = contents()
    change(tree, path, value)
    file = write_torch_file(tmp_path / "x.ckpt", tree)
    with pytest.raises(TorchFileError, match=words) as error:
        load_torch_checkpoint(file)
    assert str(file) in str(error.value)


def test_without_an_average_the_raw_weights_stand_for_it(tmp_path):
    tree = contents()
    del tree["ema"]
    model, params = load_torch_checkpoint(write_torch_file(tmp_path / "x.ckpt", tree))
    assert equal(params["raw"], params["ema"])
    assert open_torch_checkpoint(tmp_path / "x.ckpt").weights.keys() == {"raw"}
    assert equal(load_any_checkpoint(tmp_path / "x.ckpt", "ema")[1], params["raw"])
    assert model == ScoreModel(TINY_CONFIG)


def test_an_average_of_the_trained_parameters_only(tmp_path):
    tree, expected = contents(), load_torch_checkpoint(TINY)[1]
    frequencies = list(parameter_names(TINY_CONFIG.network)).index("all_modules.0.W")
    del tree["ema"]["shadow_params"][frequencies]
    found = load_torch_checkpoint(write_torch_file(tmp_path / "x.ckpt", tree))[1]
    expected["ema"]["time"]["frequencies"] = expected["raw"]["time"]["frequencies"]
    assert equal(found["ema"], expected["ema"])


def test_constants_of_losses_are_passed_over(tmp_path):
    tree = contents()
    tree[STATE] |= {"pesq_loss.power_filter": np.ones((2, 11)), "pesq_loss.fbank.width_hz": np.ones(49)}
    assert equal(
        load_torch_checkpoint(write_torch_file(tmp_path / "x.ckpt", tree))[1], load_torch_checkpoint(TINY)[1]
    )


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_other_precisions_become_float32(tmp_path, dtype):
    tree = contents()
    tree[STATE] = {name: array.astype(dtype) for name, array in tree[STATE].items()}
    found = flat(load_torch_checkpoint(write_torch_file(tmp_path / "x.ckpt", tree))[1]["raw"])
    for name, array in flat(load_torch_checkpoint(TINY)[1]["raw"]).items():
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], array.astype(dtype).astype(np.float32))


class AttributeDict(dict):
    """As Lightning keeps hyper-parameters in."""


def test_hyper_parameters_in_a_class_of_lightning(tmp_path, monkeypatch):
    monkeypatch.setattr(AttributeDict, "__module__", __name__)
    tree = {STATE: {}, HYPER: AttributeDict(read_torch_file(TINY)[HYPER], data_module_cls=None)}
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])
    (tmp_path / "x.ckpt").write_bytes(hostile.archive(pickle.dumps(tree, 2)))
    with pytest.raises(TorchFileError, match=r"begins with 'dnn\.'"):  # the hyper-parameters were read
        load_torch_checkpoint(tmp_path / "x.ckpt")


CONFIGS = {
    "published": ModelConfig(),
    "student": TINY_CONFIG,
    "sizes": ModelConfig(network=NCSNppConfig(64, (1, 2), 3, attention_heights=(128, 32), fourier_scale=8.0)),
    "process": ModelConfig(sde=OUVE(gamma=2.0, sigma_min=0.1, sigma_max=1.0, t_eps=0.01, steps=7)),
    "bridge": ModelConfig(sde=SBVE(k=2.0), preconditioning=Preconditioning("1", "1", "0")),
    "student of a bridge": ModelConfig("student", sde=SBVE(), preconditioning=Preconditioning("1")),
    "score": ModelConfig(
        preconditioning=Preconditioning("1", "1", "0", network_scaling="1/sigma", output="score")
    ),
    "ncsnpp": ModelConfig(preconditioning=SGMSE_PLUS, network=NCSNPP),
    "ncsnpp_48k": ModelConfig(
        front_end=FrontEnd(48_000, 1534, 384, 0.667, 0.065), preconditioning=SGMSE_PLUS, network=NCSNPP_48K
    ),
    "ncsnpp of a bridge": ModelConfig(sde=SBVE(), preconditioning=SGMSE_PLUS_BRIDGE, network=NCSNPP),
    "data": ModelConfig(preconditioning=Preconditioning("1", "sigma", "1", 0.3, network_scaling="1/t")),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_hyper_parameters_there_and_back(name):
    values = hyper_parameters_from_config(CONFIGS[name])
    assert config_from_hyper_parameters(values, CONFIGS[name].role) == CONFIGS[name]
    assert values["pesq_weight"] == 0  # else their class has constants that the file lacks


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"loss_type": "denoiser", "c_out": "edm", "c_skip": "edm"}, Preconditioning("1", "1", "0")),
        ({"loss_type": "denoiser", "network_scaling": "1"}, Preconditioning("1", "1", "0")),
        ({}, Preconditioning("1", "1", "0", output="score")),
        ({"loss_type": "score_matching", "c_skip": "1"}, Preconditioning("1", "1", "1", output="score")),
        (
            {"loss_type": "precond_denoiser", "c_in": "edm", "c_out": "edm", "c_skip": "edm"},
            Preconditioning(),
        ),
    ],
)
def test_training_objectives(values, expected):
    config = config_from_hyper_parameters({"backbone": "ncsnpp_v2", "sde": "ouve"} | values)
    assert config.preconditioning == expected
    assert config.role == "teacher"


def test_a_model_that_their_code_has_not_is_refused_and_leaves_nothing(tmp_path):
    odd = ModelConfig(sde=SBVE(), preconditioning=Preconditioning("1", "1", "0", output="score"))
    with pytest.raises(TorchFileError, match="no bridge whose network gives the score"):
        save_torch_checkpoint(tmp_path / "x.ckpt", ScoreModel(odd), {})
    model, params = load_torch_checkpoint(TINY)
    del params["raw"]["output"]
    with pytest.raises(TorchFileError, match=r"missing: \['output/bias', 'output/kernel'\]"):
        save_torch_checkpoint(tmp_path / "x.ckpt", model, params)
    params["ema"]["output"]["bias"] = np.ones(3)
    with pytest.raises(TorchFileError, match=r"output/bias is \(3,\), the network expects \(2,\)"):
        save_torch_checkpoint(tmp_path / "x.ckpt", model, params["ema"])
    assert list(tmp_path.iterdir()) == []


def test_enhancing_with_their_file_equals_enhancing_with_the_converted_one(tmp_path):
    save_checkpoint(tmp_path / "ours", *load_torch_checkpoint(TINY))
    wave = np.random.default_rng(0).normal(scale=0.1, size=4000).astype(np.float32)
    direct = Enhancer.from_checkpoint(TINY)
    assert (direct.sampler.sampler, direct.sampler.steps) == ("consistency", 1)
    expected = Enhancer.from_checkpoint(tmp_path / "ours")(wave, 16_000)
    np.testing.assert_array_equal(direct(wave, 16_000), expected)
    assert equal(Enhancer.from_checkpoint(TINY, weights="raw").params, load_torch_checkpoint(TINY)[1]["raw"])
