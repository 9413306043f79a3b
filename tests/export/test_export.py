"""Exported models: they do what the library does, with JAX alone, for platforms that are not here."""

import dataclasses
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from typer.testing import CliRunner

from rosecd_jax import save_checkpoint
from rosecd_jax.cli import app
from rosecd_jax.conversion.lightning import load_any_checkpoint
from rosecd_jax.diffusion import SBVE, Preconditioning
from rosecd_jax.export import load_exported
from rosecd_jax.export.load_exported import load
from rosecd_jax.export.program import (
    PLATFORMS,
    export_model,
    lower,
)
from rosecd_jax.inference import Enhancer, SamplerConfig
from rosecd_jax.models import ModelConfig, NCSNppConfig, ScoreModel
from rosecd_jax.models.enhancement import enhance_padded
from tests.helpers import FIXTURES, quick_jit, random_params

NETWORK = NCSNppConfig(channels=4, multipliers=(1, 1, 1, 1), blocks=1, attention_heights=())
STUDENT = ScoreModel(ModelConfig(role="student", preconditioning=Preconditioning(c_in="1"), network=NETWORK))
TEACHER = ScoreModel(ModelConfig(network=NETWORK))
BRIDGE = ScoreModel(ModelConfig(sde=SBVE(), preconditioning=Preconditioning("1", "1", "0"), network=NETWORK))
PARAMS = random_params(STUDENT)  # all three have the same network
PARAMS_FLAT = flatten_dict(PARAMS, sep="/")
BLOCK = 64 * 128


def noisy(*shape: int, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def library(model, sampler, params, wave, seed, buffer):
    """`enhance_padded`, one channel at a time as the Enhancer does; float32 [channels, samples]."""
    resolved, samples = sampler.resolve(model), wave.shape[-1]

    @quick_jit
    def run(params, wave):
        keys = jax.random.fold_in(jax.random.key(seed), 0)[None]
        return enhance_padded(model, resolved, params, wave, np.array([samples], np.int32), keys)

    padded = np.pad(wave, ((0, 0), (0, buffer - samples)))
    return np.concatenate([run(params, row[None]) for row in padded])[:, :samples]


def without_buckets(folder: Path) -> Path:
    """The loader pads to blocks then, which makes smaller arrays."""
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps(meta | {"lengths": []}))
    return folder


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    return export_model(tmp_path_factory.mktemp("export") / "student", STUDENT, PARAMS)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return save_checkpoint(tmp_path_factory.mktemp("model") / "tiny", STUDENT, PARAMS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "sampler"),
    [
        (STUDENT, SamplerConfig("consistency", 2)),
        (TEACHER, SamplerConfig("pc", 2, corrector="langevin")),
        (BRIDGE, SamplerConfig("bridge", 2)),
    ],
    ids=["student", "teacher", "bridge"],
)
def test_equals_the_library(tmp_path, monkeypatch, model, sampler):
    monkeypatch.setattr(jax, "jit", quick_jit)
    folder = without_buckets(export_model(tmp_path / "out", model, PARAMS, sampler, platforms=["cpu"]))
    wave = noisy(2, BLOCK + 1000)
    expected = library(model, sampler, PARAMS, wave, 3, 2 * BLOCK)
    enhanced = load(folder)(wave, seed=3)
    assert np.abs(enhanced - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.fixture(scope="module")
def loaded(exported):
    return load(exported)


@pytest.fixture(scope="module")
def enhancer() -> Enhancer:
    return Enhancer(STUDENT, PARAMS)


def test_equals_the_enhancer_with_its_buckets(loaded, enhancer):
    wave = noisy(2, 256 * 128 - 1)  # as long as the shortest bucket holds
    wave[1] = 0
    enhanced = loaded(wave, seed=7)
    expected = enhancer(wave, 16_000, seed=7)
    assert enhanced.dtype == np.float32
    assert np.abs(enhanced - expected).max() <= 1e-5 * np.abs(expected).max()
    assert np.abs(enhanced[0]).max() > 0
    assert not enhanced[1].any()


@pytest.mark.parametrize("shape", [(2, 1), (3, 2)])
def test_takes_as_few_samples_as_the_enhancer(loaded, enhancer, shape):
    expected = enhancer(noisy(*shape), 16_000)
    enhanced = loaded(noisy(*shape))
    assert enhanced.shape == shape
    assert np.abs(enhanced - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("seed", [np.int32(3), np.uint8(3), np.asarray(3), 3 + 2**32, 3 - 2**32], ids=repr)
def test_a_seed_is_any_integer(loaded, seed):
    assert np.array_equal(loaded(noisy(1000), seed), loaded(noisy(1000), 3))


ROOT = Path(__file__).parents[2]
IN_GUIDE = (ROOT / "docs" / "export.md").read_text().split("```python\n")[1].split("```")[0]
IN_README = re.findall("`(from .*load.*)`", (ROOT / "README.md").read_text())[0]
WITH_JAX_ALONE = f"""
import importlib.util, sys

sys.path += ["packages", ""]
for name in ("rosecd_jax", "flax", "soundfile", "flatbuffers"):
    assert importlib.util.find_spec(name) is None, name + " is installed"
import numpy as np
wave = np.load("noisy.npy")
{IN_README}
once = clean
{IN_GUIDE}
assert np.array_equal(once, clean)
assert enhance.sample_rate == 16_000
np.save("enhanced.npy", enhance(wave, seed=5))
"""


@pytest.mark.slow
def test_runs_in_a_fresh_process_with_jax_alone(exported, tmp_path):
    wave = noisy(6000)
    np.save(tmp_path / "noisy.npy", wave)
    without_buckets(shutil.copytree(exported, tmp_path / "exported"))
    (tmp_path / "packages").mkdir()
    for name in (
        "jax",
        "jaxlib",
        "numpy",
        "scipy",
        "ml_dtypes",
        "opt_einsum",
    ):  # what `pip install jax` brings
        installed = Path(importlib.util.find_spec(name).origin).parent  # type: ignore[union-attr,arg-type]
        for folder in (installed, installed.with_name(f"{name}.libs")):
            (tmp_path / "packages" / folder.name).symlink_to(folder)
    words = [sys.executable, "-I", "-S", "-c", WITH_JAX_ALONE]  # nothing else is on the path
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.returncode == 0, done.stderr
    expected = library(STUDENT, SamplerConfig(), PARAMS, wave[None], 5, BLOCK)[0]
    assert np.abs(np.load(tmp_path / "enhanced.npy") - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.slow
def test_the_published_network_of_any_length_and_batch_for_platforms_that_are_not_here():
    model = ScoreModel(ModelConfig(role="student", preconditioning=Preconditioning(c_in="1")))
    shapes = flatten_dict(jax.eval_shape(model.init, jax.random.key(0)), sep="/")
    program = lower(model, SamplerConfig().resolve(model), shapes)
    assert set(program.platforms) == {"cpu", "cuda", "tpu"}
    assert [str(size) for size in program.out_avals[0].shape] == ["batch", "8192*blocks"]
    module = program.mlir_module()
    assert "stablehlo.fft" in module
    targets = {line.split("@", 1)[1].split("(")[0] for line in module.splitlines() if "custom_call @" in line}
    assert targets <= {"shape_assertion"}, "calls that XLA does not promise to keep"


@pytest.mark.slow
@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_one_platform_alone(platform):
    assert lower(STUDENT, SamplerConfig().resolve(STUDENT), PARAMS_FLAT, [platform]).platforms == (platform,)


@pytest.mark.slow
def test_the_same_bytes_again_and_no_path_of_this_machine(exported, tmp_path):
    again = export_model(tmp_path / "again", STUDENT, PARAMS)
    files = {file.name: file.read_bytes() for file in exported.iterdir()}
    assert files == {file.name: file.read_bytes() for file in again.iterdir()}
    assert sorted(files) == ["load.py", "meta.json", "program.mlirbc", "weights.npz"]
    root = Path(__file__).parents[2]
    for secret in (root, tmp_path, exported.parent, Path(sys.prefix), Path.home(), "site-packages", ".py\0"):
        if str(secret) != "/":
            assert not [name for name, content in files.items() if str(secret).encode() in content]


def test_meta_tells_what_it_is_and_how_it_is_called(exported):
    meta = json.loads((exported / "meta.json").read_text())
    assert meta["sample_rate"] == 16_000
    assert meta["block"] == BLOCK
    assert tuple(meta["platforms"]) == PLATFORMS
    assert meta["sampler"] == {
        "sampler": "consistency",
        "steps": 1,
        "snr": 0.5,
        "corrector": "annealed-langevin",
    }
    assert meta["model"]["network"]["channels"] == 4
    assert all(length % BLOCK == 0 for length in meta["lengths"])
    for name, digest in meta["sha256"].items():
        assert hashlib.sha256((exported / name).read_bytes()).hexdigest() == digest


@pytest.mark.slow
def test_a_batch_of_signals_of_several_lengths(exported):
    wave, lengths = noisy(3, BLOCK), np.array([8000, 300, 5000], np.int32)
    program = lower(STUDENT, SamplerConfig().resolve(STUDENT), PARAMS_FLAT, ["cpu"])
    run = quick_jit(program.call)
    together = np.asarray(run(PARAMS_FLAT, wave, lengths, np.uint32(2)))
    resolved = SamplerConfig().resolve(STUDENT)
    keys = jax.random.fold_in(jax.random.key(2), 0)[None]
    alone = quick_jit(lambda wave, length: enhance_padded(STUDENT, resolved, PARAMS, wave, length, keys))
    for i, length in enumerate(lengths):
        expected = np.asarray(alone(wave[i : i + 1], lengths[i : i + 1]))[0, :length]
        assert np.abs(together[i, :length] - expected).max() <= 1e-5 * np.abs(expected).max()


def rosecd_export(*arguments: object):
    return CliRunner().invoke(app, ["export", *map(str, arguments)])


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["ema", "raw"])
def test_the_authors_checkpoints_by_the_command(tmp_path, weights):
    source = FIXTURES / "tiny_student.ckpt"
    done = rosecd_export(
        source, tmp_path / "out", "--weights", weights, "--steps", 1, "--platforms", "cpu,rocm"
    )
    assert done.exit_code == 0, done.output
    assert "cpu, rocm" in done.output
    _, params = load_any_checkpoint(source, weights)  # type: ignore[arg-type]
    with np.load(tmp_path / "out" / "weights.npz") as stored:
        assert all(
            np.array_equal(stored[name], array) for name, array in flatten_dict(params, sep="/").items()
        )


@pytest.mark.parametrize(
    "wave",
    [
        noisy(1025, 2),
        np.array([0.1, np.nan]),
        np.array([np.inf]),
        np.float32(1),
        np.zeros((1, 1, 5)),
        np.zeros(0),
        np.zeros((0, 5)),
        noisy(9) * 1j,
    ],
    ids=["transposed", "nan", "infinite", "number", "cube", "empty", "no channel", "complex"],
)
def test_the_loader_refuses_what_it_would_spoil(loaded, wave):
    with pytest.raises(ValueError, match=r"expected finite \[samples\] or \[channels, samples\]"):
        loaded(wave)


@pytest.mark.slow
def test_the_networks_type_can_be_chosen(checkpoint, tmp_path, monkeypatch):
    done = rosecd_export(checkpoint, tmp_path / "out", "--platforms", "cpu", "--dtype", "bfloat16")
    assert done.exit_code == 0, done.output
    assert json.loads((tmp_path / "out" / "meta.json").read_text())["model"]["network"]["dtype"] == "bfloat16"
    bfloat16 = ScoreModel(
        dataclasses.replace(STUDENT.config, network=dataclasses.replace(NETWORK, dtype="bfloat16"))
    )
    monkeypatch.setattr(jax, "jit", quick_jit)
    enhanced = load(without_buckets(tmp_path / "out"))(noisy(1, 1000))
    # The very same program rounds alike; the Enhancer's is another, and differs in this type: docs/export.md.
    expected = library(bfloat16, SamplerConfig(), PARAMS, noisy(1, 1000), 0, BLOCK)
    assert np.abs(enhanced - expected).max() <= 1e-5 * np.abs(expected).max()


def test_a_folder_that_cannot_be_written_to_is_refused_before_anything_is_read(tmp_path, monkeypatch):
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path and access(path, mode))
    done = rosecd_export("nowhere", tmp_path / "new" / "out")
    assert done.exit_code == 1
    assert f"{tmp_path} can't be written to; choose another path" in done.output


@pytest.mark.slow
def test_overwrite_replaces_an_exported_model_and_nothing_else(checkpoint, tmp_path):
    assert rosecd_export(checkpoint, tmp_path / "out", "--platforms", "cpu").exit_code == 0
    done = rosecd_export(checkpoint, tmp_path / "out", "--platforms", "tpu", "--overwrite")
    assert done.exit_code == 0, done.output
    assert json.loads((tmp_path / "out" / "meta.json").read_text())["platforms"] == ["tpu"]
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").touch()
    done = rosecd_export(checkpoint, tmp_path / "precious", "--overwrite")
    assert done.exit_code == 1
    assert "not an exported model" in done.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "precious"]


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.slow
def test_overwrite_replaces_what_a_link_leads_to(exported, tmp_path):
    shutil.copytree(exported, tmp_path / "real" / "out")
    (tmp_path / "link").symlink_to(tmp_path / "real" / "out")
    (tmp_path / "real" / "out" / "__pycache__").mkdir()  # it has been imported
    assert export_model(tmp_path / "link", STUDENT, PARAMS, platforms=["tpu"], overwrite=True).is_symlink()
    assert json.loads((tmp_path / "real" / "out" / "meta.json").read_text())["platforms"] == ["tpu"]
    assert contents(tmp_path / "real" / "out").keys() == contents(exported).keys()
    assert [path.name for path in (tmp_path / "real").iterdir()] == ["out"]


@pytest.mark.slow
@pytest.mark.parametrize("failing", [1, 2], ids=["putting the old one aside", "putting the new one there"])
def test_an_overwrite_that_fails_leaves_the_old_one(exported, tmp_path, monkeypatch, failing):
    old, calls, replace = shutil.copytree(exported, tmp_path / "out"), [], os.replace

    def broken(*paths):
        calls.append(paths)
        if len(calls) == failing:
            raise KeyboardInterrupt
        replace(*paths)

    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(KeyboardInterrupt):
        export_model(old, STUDENT, PARAMS, platforms=["tpu"], overwrite=True)
    assert contents(old) == contents(exported)
    assert list(tmp_path.iterdir()) == [old]


@pytest.mark.parametrize("target", [".", "../out", "../link"])
def test_the_current_folder_is_not_replaced(exported, tmp_path, monkeypatch, target):
    monkeypatch.chdir(shutil.copytree(exported, tmp_path / "out"))
    (tmp_path / "link").symlink_to("out")
    done = rosecd_export("nowhere", target, "--overwrite")
    assert done.exit_code == 1
    assert "is the current folder" in done.output
    assert "cd .." in done.output
    assert contents(tmp_path / "out") == contents(exported)


def test_overwrite_refuses_a_folder_with_other_files_before_anything_is_read(exported, tmp_path):
    shutil.copytree(exported, tmp_path / "out")
    (tmp_path / "out" / "wavs").mkdir()
    (tmp_path / "out" / "notes.txt").touch()
    done = rosecd_export("nowhere", tmp_path / "out", "--overwrite")
    assert done.exit_code == 1
    assert "also holds notes.txt, wavs" in done.output
    assert "move that out of the folder, or choose another path" in done.output
    assert (tmp_path / "out" / "wavs").is_dir()


@pytest.mark.parametrize(
    ("source", "target", "options", "words"),
    [
        ("nowhere", "out", [], "no checkpoint at"),
        ("tiny", "tiny", [], "exists; choose another path"),
        ("tiny", "file", [], "is a file"),
        ("tiny", "file/out", [], "is a file"),
        ("tiny", "out", ["--platforms", "cpu,gpu"], "platform 'gpu': expected some of cpu, cuda, tpu, rocm"),
        ("tiny", "out", ["--platforms", ","], "no platform"),
        ("tiny", "out", ["--sampler", "bridge"], "'bridge' doesn't go with"),
        ("tiny", "out", ["--weights", "raw"], "holds no 'raw' weights"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(checkpoint, source, target, options, words):
    (checkpoint.parent / "file").touch()
    done = rosecd_export(checkpoint.parent / source, checkpoint.parent / target, *options)
    assert done.exit_code == 1
    assert words in done.output
    assert len(done.output.strip().splitlines()) == 1
    assert sorted(path.name for path in checkpoint.parent.iterdir()) == ["file", "tiny"]


def test_the_documentation_shows_the_loader():
    code = Path(load_exported.__file__).read_text().partition('"""\n\n')[2]
    assert code in (Path(__file__).parents[2] / "docs" / "export.md").read_text()
