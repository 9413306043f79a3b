import csv
import dataclasses
import hashlib
import subprocess
import sys

import numpy as np
import pytest

from rosecd_jax.audio import io
from rosecd_jax.data.corpus import espeak, noises
from rosecd_jax.data.corpus.synthetic import SPLITS, SyntheticCorpus, make_example, voices, write_corpus
from rosecd_jax.data.corpus.words import sentence

NAN = float("nan")
SMALL = SyntheticCorpus(hours=0.01, seed=3, valid_files=2, test_files=6)
SPEAKERS = [np.sin(np.arange(5000) * step) * np.hanning(5000) for step in (0.05, 0.11, 0.4)]


def hashes(directory):
    return {
        path.relative_to(directory).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in directory.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    pytest.importorskip("espeakng_loader")
    directory = tmp_path_factory.mktemp("corpus")
    reports = []
    summary = write_corpus(directory, SMALL, lambda split, done: reports.append((split, done)))
    return directory, summary, reports


def make_noise(kind, seed, samples=16000):
    generator = np.random.default_rng(seed)
    if kind == "babble":
        return noises.babble(generator, samples, SPEAKERS)
    return noises.GENERATORS[kind](generator, samples, 16000)


@pytest.mark.parametrize("kind", [*noises.GENERATORS, "babble"])
def test_a_noise_is_finite_audible_and_follows_its_seed(kind):
    drawn = [make_noise(kind, seed) for seed in range(20)]
    for noise in drawn:
        assert noise.shape == (16000,)
        assert np.isfinite(noise).all()
        assert np.sqrt(np.mean(noise**2)) == pytest.approx(1)
    assert len({noise.tobytes() for noise in drawn}) == len(drawn)
    np.testing.assert_array_equal(drawn[7], make_noise(kind, 7))


def test_hum_sits_on_the_mains_and_colored_noise_falls():
    def band(wave, low, high):
        power = np.abs(np.fft.rfft(wave)) ** 2
        return power[low:high].sum() / power.sum()  # one second: bins are Hz

    assert all(band(make_noise("hum", seed), 40, 1300) > 0.9 for seed in range(5))
    assert all(
        band(make_noise("coloured", seed), 20, 4000) > band(make_noise("coloured", seed), 4000, 8000) * 0.9
        for seed in range(5)
    )


def test_babble_of_nobody_is_refused():
    generator = np.random.default_rng(0)
    with pytest.raises(ValueError, match="at least one"):
        noises.babble(generator, 100, [])
    with pytest.raises(ValueError, match="silent wave"):
        noises.babble(generator, 100, [np.zeros(50)])


def test_sentences_are_filled_in():
    sentences = {sentence(np.random.default_rng(seed)) for seed in range(300)}
    assert len(sentences) > 295
    for text in sentences:
        assert text[0].isupper()
        assert text[-1] in ".?"
        assert "{" not in text
        assert 6 <= len(text.split()) <= 18


def test_speech_depends_on_its_arguments_only():
    pytest.importorskip("espeakng_loader")
    first = {
        voice: espeak.speak("Good morning, everyone.", voice, 40, 60, 160) for voice in voices("test")[:6]
    }
    for voice in reversed(first):  # another order: nothing may be left over from the call before
        np.testing.assert_array_equal(
            first[voice], espeak.speak("Good morning, everyone.", voice, 40, 60, 160)
        )
    speech = espeak.speak("Good morning, everyone.", "en-us+f2")
    assert speech.dtype == np.float32
    assert 0.5 < speech.size / espeak.SAMPLE_RATE < 3
    assert 0.1 < np.abs(speech).max() <= 1
    for change in ({"pitch": 70}, {"pitch_range": 0}, {"rate": 220}, {"voice": "en+f2"}):
        other = espeak.speak(**{"text": "Good morning, everyone.", "voice": "en-us+f2", **change})
        assert other.tobytes() != speech.tobytes()


@pytest.mark.parametrize(
    "arguments", [{"voice": "xx-nowhere"}, {"voice": "en+nobody"}, {"pitch": 100}, {"rate": 10}]
)
def test_speech_that_cannot_be_is_refused(arguments):
    pytest.importorskip("espeakng_loader")
    with pytest.raises(ValueError, match=r"espeak-ng has no|has to be from"):
        espeak.speak(**{"text": "Hello.", "voice": "en", **arguments})


def test_every_voice_speaks_as_itself():
    pytest.importorskip("espeakng_loader")
    everyone = [voice for split in SPLITS for voice in voices(split)]
    spoken = {espeak.speak("One, two, three.", voice).tobytes() for voice in everyone}
    assert len(spoken) == len(everyone)


def test_splits_share_no_voice():
    for one, other in (("train", "test"), ("train", "valid"), ("valid", "test")):
        assert not set(voices(one)) & set(voices(other))
        assert not {v.split("+")[1] for v in voices(one)} & {v.split("+")[1] for v in voices(other)}


def test_a_missing_espeak_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(ImportError, match=r"pip install 'rosecd-jax\[demo\]'"):
        espeak.speak("Hello.", "en")


@pytest.mark.parametrize(
    "change",
    [
        {"hours": 0},
        {"hours": NAN},
        {"seed": -1},
        {"seed": 0.5},
        {"utterance_seconds": (4, 2)},
        {"utterance_seconds": (0, 2)},
        {"utterance_seconds": (1, NAN)},
        {"utterance_seconds": (1, 2, 3)},
        {"utterance_seconds": 2.0},
        {"test_snrs": ()},
        {"test_snrs": (5.0, NAN)},
        {"train_snrs": (float("inf"),)},
        {"train_snrs": (1e9,)},
        {"train_snrs": 5},
        {"sample_rate": 100},
        {"sample_rate": NAN},
        {"sample_rate": 16000.5},
        {"test_files": -1},
        {"valid_files": 2.5},
    ],
)
def test_a_senseless_config_is_refused(change):
    with pytest.raises(ValueError, match=rf"^{next(iter(change))} .*has to be"):
        SyntheticCorpus(**change)


def test_file_counts_follow_from_the_hours():
    config = SyntheticCorpus(hours=2)
    assert (config.valid_files, config.test_files) == (120, 120)
    assert SyntheticCorpus(hours=0.01).test_files == 8


def test_pairs_have_the_stated_format_and_snr(corpus):
    directory, summary, reports = corpus
    with open(directory / "files.csv", newline="") as table:
        rows = list(csv.DictReader(table))
    for split in SPLITS:
        names = sorted(path.name for path in (directory / split / "clean").iterdir())
        assert names == sorted(path.name for path in (directory / split / "noisy").iterdir())
        listed = [row for row in rows if row["file"].startswith(split)]
        assert [row["file"] for row in listed] == [f"{split}/{name}" for name in names]
        seconds = 0
        for row in listed:
            name = row["file"].split("/")[1]
            clean, noisy = (io.read(directory / split / kind / name) for kind in ("clean", "noisy"))
            assert (clean.sample_rate, clean.subtype, clean.format) == (16000, "PCM_16", "WAV")
            assert (noisy.sample_rate, noisy.subtype, noisy.format) == (16000, "PCM_16", "WAV")
            assert clean.wave.shape == noisy.wave.shape == (1, clean.wave.size)
            assert 2 <= clean.wave.size / 16000 <= 4
            ratio = 10 * np.log10(np.mean(clean.wave**2) / np.mean((noisy.wave - clean.wave) ** 2))
            assert ratio == pytest.approx(float(row["snr_db"]), abs=0.05)  # 16 bits round
            assert float(row["snr_db"]) in (SMALL.test_snrs if split == "test" else SMALL.train_snrs)
            assert row["voice"] in voices(split)
            seconds += clean.wave.size / 16000
        assert (summary[split].files, summary[split].seconds) == (len(names), pytest.approx(seconds))
        assert [done for at, done in reports if at == split][-1] == 1
    assert (summary["valid"].files, summary["test"].files) == (2, 6)
    assert 36 <= summary["train"].seconds < 40


def test_same_seed_same_bytes_in_another_process_and_after_a_longer_broken_run(corpus, tmp_path):
    config = "hours=0.01, seed=3, valid_files=2, test_files=6"
    code = (
        "import sys; from rosecd_jax.data.corpus.synthetic import *; "
        "make_example(SyntheticCorpus(seed=9), 'test', 5); "
        f"write_corpus(sys.argv[1], SyntheticCorpus({config}))"
    )
    for kind in ("clean", "noisy"):
        io.write(tmp_path / "train" / kind / "train_99999.wav", np.zeros(9), 16000)
    subprocess.run([sys.executable, "-c", code, tmp_path], check=True)
    assert hashes(tmp_path) == hashes(corpus[0])


def test_an_example_depends_on_seed_split_and_index_only():
    pytest.importorskip("espeakng_loader")
    longer = dataclasses.replace(SMALL, hours=100)
    for split, index in (("test", 4), ("train", 2)):
        one, other = (make_example(config, split, index) for config in (SMALL, longer))
        np.testing.assert_array_equal(one.noisy, other.noisy)
        changed = make_example(dataclasses.replace(SMALL, seed=4), split, index)
        assert changed.noisy.tobytes() != one.noisy.tobytes()
    assert make_example(SMALL, "train", 0).noisy.tobytes() != make_example(SMALL, "valid", 0).noisy.tobytes()


@pytest.mark.parametrize(("seconds", "sample_rate"), [((0.5, 1), 8000), ((9, 10), 48000)])
def test_other_lengths_and_sample_rates(seconds, sample_rate):
    pytest.importorskip("espeakng_loader")
    config = SyntheticCorpus(utterance_seconds=seconds, sample_rate=sample_rate)
    for index in range(5):
        example = make_example(config, "train", index)
        assert seconds[0] <= example.clean.size / sample_rate <= seconds[1]
        assert example.clean.shape == example.noisy.shape


def test_an_equal_corpus_is_kept_and_another_refused(corpus, tmp_path):
    directory, summary, _ = corpus
    before = {path: path.stat().st_mtime_ns for path in directory.rglob("*")}
    assert write_corpus(directory, SMALL) == summary
    with pytest.raises(FileExistsError, match=directory.name):
        write_corpus(directory, dataclasses.replace(SMALL, seed=4))
    assert before == {path: path.stat().st_mtime_ns for path in directory.rglob("*")}

    foreign = tmp_path / "train" / "clean" / "p226_001.wav"
    io.write(foreign, np.zeros(9), 16000)
    with pytest.raises(FileExistsError, match=str(tmp_path)):
        write_corpus(tmp_path, SMALL)
    assert foreign.exists()


@pytest.mark.parametrize("text", ["{", "[1]", "{}", '{"config": {}, "splits": {"train": 3}}', "[" * 100_000])
def test_a_broken_description_of_a_corpus_is_named(tmp_path, text):
    (tmp_path / "corpus.json").write_text(text)
    with pytest.raises(FileExistsError, match=r"corpus\.json: does not describe a corpus .*; choose another"):
        write_corpus(tmp_path, SMALL)


@pytest.mark.parametrize("split", ["valid", "test"])
def test_what_is_measured_has_every_noise_at_every_snr_once(split):
    examples = [make_example(SyntheticCorpus(), split, index) for index in range(24)]
    assert len({(example.noise, example.snr_db) for example in examples}) == 24
