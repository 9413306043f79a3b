"""Files without hyper-parameters, of older revisions, of related projects; sampler settings that travel."""

import json

import jax
import numpy as np
import pytest
from typer.testing import CliRunner

from rosecd_jax.cli import app
from rosecd_jax.conversion import TorchFileError, load_torch_checkpoint, open_torch_checkpoint
from rosecd_jax.conversion.hyper_parameters import config_from_hyper_parameters, hyper_parameters_from_config
from rosecd_jax.conversion.torch_file import read_torch_file, write_torch_file
from rosecd_jax.inference.enhancer import Enhancer
from rosecd_jax.models import ModelConfig
from rosecd_jax.models.checkpoint import load_checkpoint, save_checkpoint
from rosecd_jax.models.enhancement import SamplerConfig
from rosecd_jax.models.score_model import ScoreModel
from tests.conversion.checkpoints import HYPER, STATE, TINY, TINY_CONFIG, contents, equal

BARE = {name.removeprefix("dnn."): array for name, array in contents()[STATE].items()}


def rosecd(*words):
    return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


def hyper_parameters(**more):
    return dict(contents()[HYPER]) | more


@pytest.mark.parametrize("prefix", ["", "dnn.", "module.", "model.dnn."])
@pytest.mark.parametrize("key", [None, "state_dict", "model"])
def test_a_state_dict_alone_is_read_with_hyper_parameters(tmp_path, prefix, key):
    state = {f"{prefix}{name}": array for name, array in BARE.items()}
    file = write_torch_file(tmp_path / "bare.pt", state if key is None else {key: state, "epoch": 3})
    with pytest.raises(TorchFileError, match="--hyper-parameters FILE"):
        load_torch_checkpoint(file)
    expected = load_torch_checkpoint(TINY)[1]["raw"]
    for given in (hyper_parameters(), TINY_CONFIG):
        model, params = load_torch_checkpoint(file, given)
        assert model == ScoreModel(TINY_CONFIG)
        assert equal(params["raw"], expected)


def test_hyper_parameters_of_a_file_are_not_replaced():
    with pytest.raises(TorchFileError, match="has its own hyper-parameters"):
        load_torch_checkpoint(TINY, TINY_CONFIG)


def test_a_misspelled_hyper_parameter_is_named(tmp_path):
    bare = write_torch_file(tmp_path / "bare.pt", BARE)
    values = hyper_parameters(sigm_min=0.1, batch_size=3)
    del values["sigma_min"]
    (tmp_path / "x.json").write_text(json.dumps(values))
    done = rosecd("convert", bare, tmp_path / "out", "--hyper-parameters", tmp_path / "x.json")
    assert done.exit_code == 1
    assert "'sigm_min' is not known; did you mean 'sigma_min'?" in done.output


def test_a_student_has_no_sampler_to_set(tmp_path):
    done = rosecd("convert", TINY, tmp_path / "out", "--steps", 50)
    assert done.exit_code == 1
    assert "a student runs one step" in done.output


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda leaf: leaf * 1j, "complex64|complex128"),
        (lambda leaf: leaf * np.nan, "NaN"),
        (lambda leaf: leaf.astype(np.int32), "int32"),
    ],
)
def test_weights_that_are_no_real_numbers_are_not_saved(tmp_path, change, words):
    model, params = load_torch_checkpoint(TINY)
    with pytest.raises(ValueError, match=words):
        save_checkpoint(tmp_path / "x", model, jax.tree.map(change, params["ema"]))
    assert not (tmp_path / "x").exists()


def test_two_networks_in_one_file_are_named(tmp_path):
    state = {f"{prefix}.{name}": array for prefix in ("student", "teacher") for name, array in BARE.items()}
    with pytest.raises(TorchFileError, match=r"several networks, named \['student\.', 'teacher\.'\]"):
        load_torch_checkpoint(write_torch_file(tmp_path / "x.pt", state), TINY_CONFIG)


CONFIG_FILE = """
from ml_collections import ConfigDict
from rosecd_jax.config import to_dict
from rosecd_jax.models import ModelConfig, NCSNppConfig
from rosecd_jax.diffusion.preconditioning import Preconditioning
from rosecd_jax.training.config import TrainConfig


def get_config(channels="4"):
    network = NCSNppConfig(int(channels), (1,), 1, attention_heights=())
    return ConfigDict(to_dict(TrainConfig(model=ModelConfig(
        role="teacher", preconditioning=Preconditioning(c_in="1"), network=network))))
"""


def test_convert_takes_hyper_parameters_from_a_file(tmp_path):
    bare = write_torch_file(tmp_path / "bare.pt", BARE)
    (tmp_path / "theirs.json").write_text(json.dumps(hyper_parameters()))
    (tmp_path / "ours.py").write_text(CONFIG_FILE)
    for given, role in (("theirs.json", "student"), ("ours.py", "teacher"), ("ours.py:4", "teacher")):
        out = tmp_path / f"from {given}"
        done = rosecd("convert", bare, out, "--hyper-parameters", tmp_path / given)
        assert done.exit_code == 0, done.output
        assert load_checkpoint(out)[0].config.role == role
        assert equal(load_checkpoint(out)[1], load_torch_checkpoint(TINY)[1]["raw"])


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("x.json", "{", "not JSON"),
        ("x.json", "[1]", "holds a list"),
        ("x.json", '{"backbone": "ncsnpp_v2", "sde": "ouve", "nf": 8}', "raw parameters missing"),
        ("x.json", "{}", "'backbone' is missing"),
        ("x.json", "[" * 100_000, "not JSON"),
        ("nowhere.json", None, "nowhere.json"),
        ("nowhere.py", None, "no config file"),
        (
            "x.py",
            "def get_config():\n    return 1 / 0\n",
            "x.py: line 2: ZeroDivisionError: division by zero",
        ),
        ("x.py", "def get_config(:", "x.py: SyntaxError: invalid syntax"),
        ("x.py", "def get_config():\n    return {}\n", "x.py: get_config() returns a dict"),
    ],
)
def test_hyper_parameters_that_do_not_fit_are_an_error_in_one_line(tmp_path, file, text, words):
    bare = write_torch_file(tmp_path / "bare.pt", BARE)
    if text is not None:
        (tmp_path / file).write_text(text)
    done = rosecd("convert", bare, tmp_path / "out", "--hyper-parameters", tmp_path / file)
    assert done.exit_code == 1
    assert words in done.output
    assert "Traceback" not in done.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "older",
    [
        {"fir_kernel": "song"},
        {"fir_kernel": [1, 3, 3, 1], "centered": True, "scale_by_sigma": True},
        {"loss_type": "mse", "sde_n": 1000, "no_wandb": True},
        {"loss_type": "mae"},
        {"input_y": True, "time_cond": "t", "minus": True, "eval_start": 0},
    ],
    ids=str,
)
def test_equal_spellings_of_older_revisions_are_the_same_model(older):
    today = {"backbone": "ncsnpp", "sde": "ouve", "loss_type": "score_matching"}
    config = config_from_hyper_parameters(today | older)
    assert config == config_from_hyper_parameters(today)
    assert config.sde.steps == 30


@pytest.mark.parametrize(
    ("older", "words"),
    [
        ({"fir_kernel": "order8_mcclellan_06"}, "'fir_kernel' is 'order8_mcclellan_06'"),
        ({"centered": False}, "'centered' is False"),
        ({"input_y": False}, "'input_y' is False"),
        ({"time_cond": "std"}, "'time_cond' is 'std'"),
        ({"minus": False}, "'minus' is False"),
        ({"loss_type": "gaussian_entropy"}, "'loss_type' is 'gaussian_entropy'"),
    ],
    ids=str,
)
def test_other_models_of_older_revisions_are_refused(older, words):
    with pytest.raises(ValueError, match=words):
        config_from_hyper_parameters({"backbone": "ncsnpp", "sde": "ouve"} | older)


RELATIVES = [
    (HYPER, {"backbone": "dcunet", "sde": "ouve"}, "SGMSE with a DCUNet"),
    (HYPER, {"backbone": "ncsnpp", "sde": "bbed", "theta": 0.52}, "SGMSE-BBED"),
    (HYPER, {"backbone": "ncsnpp", "sde": "ouvp"}, "OUVP"),
    (HYPER, {"backbone": "ncsnpp", "ode": "flowmatching", "T_rev": 1.0}, "FlowSE"),
    (
        HYPER,
        {"backbone": "ncsnpp", "ode": "flowmatching", "use_mfse": True, "mf_weight_final": 0.25},
        "MeanFlowSE",
    ),
    (HYPER, {"backbone": "ncsnpp-ctm_v2", "sde": "sbve"}, "SBCTM"),
    (HYPER, {"backbone": "ncsnpp_v2", "sde": "sbve", "ctm_lr": 1e-4}, "SBCTM"),
    (HYPER, {"backbone_denoiser": "ncsnpp", "backbone_score": "ncsnpp", "sde": "ouve"}, "StoRM"),
    (HYPER, {"backbone": "ncsnpp", "sde": "ouve", "discriminative": True}, "discriminative"),
    (STATE, {"unet.enc.256x256_conv.weight": np.ones(3), "logvar": np.ones(1)}, "EDM2SE"),
    (STATE, {"denoiser_net.all_modules.0.weight": np.ones(3)}, "StoRM"),
    ("config", {"model": "ncsnpp_v2_drift", "nf": 128}, "DriftSE"),
]


@pytest.mark.parametrize(("part", "value", "project"), RELATIVES)
def test_relatives_are_refused_by_what_they_are(tmp_path, part, value, project):
    tree = contents()
    if part == "config":
        tree = {"model": BARE, "ema": {"shadow": {}}, "step": 5}
    elif part == STATE:
        del tree[HYPER]
    file = write_torch_file(tmp_path / "x.ckpt", tree | {part: value})
    with pytest.raises(TorchFileError, match=f"is a checkpoint of .*{project}.*; supported are") as error:
        open_torch_checkpoint(file)
    assert str(file) in str(error.value)


@pytest.mark.parametrize(("value", "project"), [entry[1:] for entry in RELATIVES if entry[0] == HYPER])
def test_relatives_are_refused_alike_by_hyper_parameters_from_a_file(tmp_path, value, project):
    bare, file = write_torch_file(tmp_path / "bare.pt", BARE), tmp_path / "x.json"
    file.write_text(json.dumps(value))
    done = rosecd("convert", bare, tmp_path / "out", "--hyper-parameters", file)
    assert done.exit_code == 1
    assert f"{file}: these are hyper-parameters of" in done.output
    assert project in done.output
    assert "; supported are" in done.output
    with pytest.raises(TorchFileError, match=f"{project}.*; supported are"):
        open_torch_checkpoint(bare, value)


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("x.ckpt", {"base_dir": "/data/WSJ0-REVERB"}),
        ("x.ckpt", {"base_dir": "/data/x", "format": "reverb"}),
        ("sgmse_wsj0_reverb.ckpt", {}),
    ],
)
def test_a_published_sampler_travels_with_its_model(tmp_path, name, more):
    values = hyper_parameters_from_config(ModelConfig(network=TINY_CONFIG.network)) | more
    tree = contents() | {HYPER: values}
    file = write_torch_file(tmp_path / name, tree)
    sampler = SamplerConfig().resolve(ScoreModel(open_torch_checkpoint(file).config))
    assert (sampler.sampler, sampler.steps, sampler.snr) == ("pc", 50, 0.33)
    assert "pc, 50 steps, snr 0.33" in rosecd("info", file).output
    assert rosecd("convert", file, tmp_path / "ours").exit_code == 0
    assert "pc, 50 steps, snr 0.33" in rosecd("info", tmp_path / "ours").output
    assert Enhancer.from_checkpoint(tmp_path / "ours").sampler == sampler
    asked = Enhancer.from_checkpoint(tmp_path / "ours", steps=2, snr=0.4).sampler
    assert (asked.steps, asked.snr) == (2, 0.4)


def test_sampler_settings_are_given_at_conversion_and_come_back(tmp_path):
    values = hyper_parameters_from_config(ModelConfig(network=TINY_CONFIG.network))
    file = write_torch_file(tmp_path / "x.ckpt", contents() | {HYPER: values})
    done = rosecd("convert", file, tmp_path / "ours", "--steps", 7, "--snr", 0.25)
    assert "teacher; " in done.output
    assert "pc, 7 steps, snr 0.25" in done.output
    assert rosecd("convert", tmp_path / "ours", tmp_path / "theirs.ckpt").exit_code == 0
    assert read_torch_file(tmp_path / "theirs.ckpt")[HYPER]["N"] == 7
    config = open_torch_checkpoint(tmp_path / "theirs.ckpt").config
    assert (config.sde.steps, config.corrector_snr) == (7, 0.25)


def test_sampler_settings_come_back_under_the_name_of_a_published_model(tmp_path):
    values = hyper_parameters_from_config(ModelConfig(network=TINY_CONFIG.network))
    file = write_torch_file(tmp_path / "x.ckpt", contents() | {HYPER: values})
    assert rosecd("convert", file, tmp_path / "ours", "--steps", 10, "--snr", 0.4).exit_code == 0
    named = tmp_path / "wsj0-reverb_mine.ckpt"
    assert rosecd("convert", tmp_path / "ours", named).exit_code == 0
    config = open_torch_checkpoint(named).config
    assert (config.sde.steps, config.corrector_snr) == (10, 0.4)


def test_a_checkpoint_of_before_has_the_usual_snr(tmp_path):
    model, params = load_torch_checkpoint(TINY)
    path = save_checkpoint(tmp_path / "x", model, params)
    text = next((path / "config").glob("*")).read_text()
    stored = json.loads(text)
    del stored["model"]["corrector_snr"], stored["digests"]
    next((path / "config").glob("*")).write_text(json.dumps(stored))
    assert load_checkpoint(path)[0] == model


@pytest.mark.parametrize("snr", [0.0, -1.0, float("nan"), float("inf")])
def test_an_snr_that_makes_no_sense_is_refused(snr):
    with pytest.raises(ValueError, match="corrector_snr"):
        ModelConfig(corrector_snr=snr)
