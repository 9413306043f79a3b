"""rosecd_jax.evaluation: notes on files whose scores mislead, and folders that an evaluation leaves alone."""

import jax
import numpy as np
import pytest

from rosecd_jax.audio import io
from rosecd_jax.evaluation import evaluate
from rosecd_jax.inference import Enhancer, SamplerConfig
from rosecd_jax.models import ModelConfig, NCSNppConfig, ScoreModel

RATE = 16_000
NAMES = ("a.wav", "sub/b.wav")
TINY = ScoreModel(ModelConfig(network=NCSNppConfig(channels=4, multipliers=(1, 1), blocks=1)))


@pytest.fixture
def data(tmp_path):
    """Two pairs of a pulsed tone in noise."""
    generator = np.random.default_rng(0)
    for i, name in enumerate(NAMES):
        time = np.arange(RATE + 800 * i) / RATE
        clean = 0.2 * np.sin(2 * np.pi * 300 * time) * (np.sin(2 * np.pi * 4 * time) > 0)
        write(tmp_path / "data" / "clean" / name, clean)
        write(tmp_path / "data" / "noisy" / name, clean + 0.01 * generator.normal(size=time.size))
    return tmp_path / "data"


def write(path, wave):
    io.write(path, wave, RATE, subtype="FLOAT")


def changed(source, folder, change):
    """Write every wave of a folder, changed, into another."""
    for name in NAMES:
        write(folder / name, change(io.read(source / name).wave))
    return folder


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda wave: -wave, "the estimate is inverted"),
        (lambda wave: -np.roll(wave, 30, axis=1), "the estimate is inverted"),
        (lambda wave: wave + 0.05, "the estimate has a constant offset of 0.05, which lowers scores"),
        (lambda wave: wave - 0.3, "the estimate has a constant offset of 0.30, which lowers scores"),
        (lambda wave: 0.1 * wave, "speech is 20.0 dB fainter than in the clean file, which lowers seg_snr"),
        (lambda wave: 20 * wave, "speech is 26.0 dB louder than in the clean file, which lowers seg_snr"),
    ],
)
def test_estimates_that_are_inverted_offset_or_at_another_level_are_noted(data, tmp_path, change, words):
    folder = changed(data / "noisy", tmp_path / "made", change)
    noisy, made = evaluate(data, [("noisy", None), ("made", folder)], measures=("si_sdr", "seg_snr"))
    assert not noisy.notes
    assert [words in note for note in made.notes[:2]] == [True] * 2


def test_a_wrong_level_is_not_noted_if_no_measure_counts_it(data, tmp_path):
    folder = changed(data / "noisy", tmp_path / "made", lambda wave: 0.1 * wave)
    (made,) = evaluate(data, [("made", folder)], measures=("si_sdr",))
    assert not made.notes


def test_clean_files_with_an_offset_are_noted(data):
    changed(data / "clean", data / "clean", lambda wave: wave + 0.1)
    (noisy,) = evaluate(data, [("noisy", None)], measures=("si_sdr",))
    assert ["the clean file has a constant offset of 0.10" in note for note in noisy.notes] == [True] * 2


def test_estimates_that_equal_the_clean_files_are_noted(data):
    (made,) = evaluate(data, [("made", data / "clean")], measures=("si_sdr",))
    assert made.notes == [f"{name}: the estimate equals the clean file" for name in NAMES]


def test_clean_files_that_share_a_noisy_one_are_noted(data):
    io.write(data / "clean" / "a.flac", io.read(data / "clean" / "a.wav").wave, RATE)
    (noisy,) = evaluate(data, [("noisy", None)], measures=("si_sdr",))
    assert "a.flac, a.wav: several clean files of the noisy file a.wav; keep one of them" in noisy.notes


@pytest.mark.parametrize(
    ("name", "words"), [("clean", "clean would overwrite files of the input"), ("other", "audio of another")]
)
def test_a_model_never_writes_into_a_folder_of_other_files(data, name, words):
    changed(data / "clean", data / "other", lambda wave: wave)
    before = (data / name / NAMES[0]).read_bytes()
    model = Enhancer(TINY, TINY.init(jax.random.key(0)), SamplerConfig("consistency", 1))
    with pytest.raises(ValueError, match=words):
        evaluate(data, [(name, model)], output=data, measures=("si_sdr",))
    assert (data / name / NAMES[0]).read_bytes() == before


def test_an_output_that_is_a_file_is_refused_before_the_evaluation(data):
    with pytest.raises(ValueError, match=r"a\.wav: is a file; give a folder for the results"):
        evaluate(data, [("noisy", None)], output=data / "clean" / "a.wav")


def stereo(data, folder, change):
    """Write both sides with a second, equal channel, and an estimate whose second channel is changed."""
    for name in NAMES:
        for side in ("clean", "noisy"):
            write(folder / side / name, np.repeat(io.read(data / side / name).wave, 2, axis=0))
        wave = io.read(data / "noisy" / name).wave[0]
        write(folder / "e" / name, np.stack([wave, change(wave)]))
    return folder


@pytest.mark.parametrize(
    ("change", "note"),
    [
        (lambda wave: np.roll(wave, 20), ""),
        (lambda wave: -wave, "channel 2: the estimate is inverted"),
        (lambda wave: wave + 0.1, "channel 2: the estimate has a constant offset of 0.10"),
        (
            lambda wave: np.random.default_rng(1).normal(size=wave.size),
            "channel 2: too unlike the clean file",
        ),
        (lambda wave: 0 * wave, "channel 2: the estimate is constant"),
    ],
)
def test_faults_of_a_second_channel_are_noted(data, tmp_path, change, note):
    folder = stereo(data, tmp_path / "stereo", change)
    (found,) = evaluate(folder, [("changed", folder / "e")])
    assert all(note in result.note for result in found.files)
    assert [result.delay for result in found.files] == [0 if note else 20] * 2


def test_a_silent_channel_is_not_unlike(data, tmp_path):
    folder = tmp_path / "silent"
    for name in NAMES:
        for source, side in (("clean", "clean"), ("noisy", "noisy"), ("clean", "e")):
            wave = io.read(data / source / name).wave[0]
            write(folder / side / name, np.stack([0 * wave, wave]))
    noisy, perfect = evaluate(folder, [("noisy", None), ("perfect", folder / "e")])
    assert not any("unlike" in result.note for result in [*noisy.files, *perfect.files])
    assert all("channel 2: the estimate equals the clean file" in result.note for result in perfect.files)
