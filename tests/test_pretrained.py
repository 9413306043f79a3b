"""The models that come with the package: they are there, in the wheel too, and they enhance."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from rosecd_jax.audio import io
from rosecd_jax.inference import Enhancer
from rosecd_jax.metrics import evaluate_pair, pesq_is_installed
from rosecd_jax.models.checkpoint import open_checkpoint
from rosecd_jax.pretrained import DEFAULT, FOLDER, pretrained_models, resolve
from tests.helpers import needs_pesq

ROOT = Path(__file__).parents[1]
CLEAN, NOISY = (ROOT / "examples" / "recordings" / side / "p287_003.flac" for side in ("clean", "noisy"))


@pytest.fixture(scope="module")
def small():
    return Enhancer.from_checkpoint()


def test_the_package_has_a_student():
    roles = {name: open_checkpoint(path).config.role for name, path in pretrained_models().items()}
    assert roles == {"small": "student"}
    assert DEFAULT in roles


def test_a_real_recording_becomes_better_without_a_name_or_a_path(small):
    clean, noisy = (io.read(path).wave[0] for path in (CLEAN, NOISY))
    before, after = (evaluate_pair(clean, noisy, wave, 16_000) for wave in (noisy, small(noisy, 16_000)))
    assert after.si_sdr > before.si_sdr + 1
    assert after.pesq > before.pesq + 0.1 or not pesq_is_installed()
    assert after.estoi > before.estoi


@needs_pesq
def test_clean_speech_keeps_its_sound(small):
    clean = io.read(CLEAN).wave[0]
    assert evaluate_pair(clean, clean, small(clean, 16_000), 16_000).pesq > 3.8


def test_clean_speech_keeps_its_level(small):
    clean = io.read(CLEAN).wave[0]
    enhanced = small(clean, 16_000)
    assert abs(20 * np.log10(np.std(enhanced) / np.std(clean))) < 1.5


@pytest.mark.parametrize("beyond", [0, 160, 250, 255])  # samples after the center of the last frame
def test_the_end_of_a_recording_is_not_louder_than_the_rest(small, beyond):
    clean = io.read(CLEAN).wave[0][: 16_384 + beyond]
    assert np.abs(small(clean, 16_000)[-32:]).max() < 1.5 * np.abs(clean).max()


def test_more_steps_of_a_student_are_warned_of():
    with pytest.warns(UserWarning, match="small is a student, trained for one network call: 3 calls"):
        Enhancer.from_checkpoint("small", steps=3)


def test_noise_alone_becomes_quieter_and_silence_stays_silence(small):
    noise = 0.1 * np.random.default_rng(0).standard_normal(32_000).astype(np.float32)
    assert np.std(small(noise, 16_000)) < 0.2 * np.std(noise)
    assert not small(np.zeros(32_000, np.float32), 16_000).any()


def test_a_directory_goes_before_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert resolve("small") == FOLDER / "small" / "student"
    Path("small").mkdir()
    assert resolve("small") == Path("small")
    assert resolve("elsewhere") == Path("elsewhere")


@pytest.mark.slow
def test_the_command_lists_them():
    words = [sys.executable, "-m", "rosecd_jax.cli", "models"]
    listed = subprocess.run(words, capture_output=True, text=True, env=os.environ | {"COLUMNS": "200"})
    assert listed.returncode == 0, listed.stderr
    assert "small (default)" in listed.stdout
    assert "16000 Hz" in listed.stdout


@pytest.mark.slow
def test_a_wheel_holds_them_and_is_small(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for name in ("rosecd_jax", "configs", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        (source / name).symlink_to(ROOT / name)
    words = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index"]
    built = subprocess.run([*words, "-w", tmp_path, source], capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = tmp_path.glob("rosecd_jax-*.whl")
    assert wheel.stat().st_size < 15e6
    packed = set(zipfile.ZipFile(wheel).namelist())
    files = (file for file in FOLDER.rglob("*") if file.is_file() and file.suffix != ".pyc")
    assert {str(file.relative_to(ROOT)) for file in files} <= packed
