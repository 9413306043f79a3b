"""rosecd_jax.evaluation: real files in, tables out; what can't be scored is reported, the rest is scored."""

import csv
import itertools
import os
import subprocess
import sys
import weakref

import jax
import numpy as np
import pytest
import soundfile

from rosecd_jax.audio import io
from rosecd_jax.evaluation import Evaluation, FileResult, evaluate
from rosecd_jax.inference import Enhancer
from rosecd_jax.metrics import WORST, Scores, pesq_is_installed, si_sdr
from tests.helpers import TINY

RATE = 16_000
NAMES = ("a.wav", "sub/b.wav", "sub/c.wav")
SCORED = tuple(name for name in Scores._fields if name != "pesq" or pesq_is_installed())


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Three pairs of a pulsed tone in noise, 10 dB apart, and a folder of worse ones."""
    folder = tmp_path_factory.mktemp("pairs")
    generator = np.random.default_rng(0)
    for i, name in enumerate(NAMES):
        time = np.arange(RATE + 800 * i) / RATE
        clean = 0.2 * np.sin(2 * np.pi * 300 * time) * (np.sin(2 * np.pi * 4 * time) > 0)
        noise = generator.normal(size=time.size) * np.sqrt(np.mean(clean**2))
        for side, wave in (
            ("clean", clean),
            ("noisy", clean + 0.1 * noise),
            ("worse", clean + noise),
        ):
            io.write(folder / side / name, wave, RATE, subtype="FLOAT")
    return folder


@pytest.fixture(scope="module")
def evaluations(data, tmp_path_factory):
    output = tmp_path_factory.mktemp("output")
    model = Enhancer(TINY, TINY.init(jax.random.key(0)), steps_of_one(), buckets=())
    seen = []
    methods = [("noisy", None), ("worse", data / "worse"), ("model", model)]
    results = evaluate(data, methods, output=output, progress=lambda *words: seen.append(words))
    return results, output, seen


def steps_of_one():
    from rosecd_jax.inference import SamplerConfig

    return SamplerConfig("consistency", 1)


def test_the_noisy_input_is_scored_as_it_is(evaluations, data):
    noisy = evaluations[0][0]
    assert [result.file for result in noisy.files] == list(NAMES)
    for result in noisy.files:
        clean, mixture = (io.read(data / side / result.file).wave[0] for side in ("clean", "noisy"))
        assert result.scores.si_sdr == pytest.approx(si_sdr(clean, mixture), abs=1e-6)
        assert result.scores.si_sdr == pytest.approx(20, abs=0.5)
        assert result.seconds == clean.size / RATE
    assert np.isnan(noisy.real_time_factor)


def test_a_folder_of_enhanced_files_is_scored(evaluations):
    worse = evaluations[0][1]
    assert worse.summary()["si_sdr"][0] == pytest.approx(0, abs=0.5)
    for name in SCORED[: SCORED.index("si_sdr") + 1]:
        assert worse.summary()[name][0] < evaluations[0][0].summary()[name][0]


def test_a_model_is_timed_and_its_files_are_kept(evaluations, data):
    results, output, _ = evaluations
    model = results[2]
    assert 0 < model.real_time_factor < 100
    for result in model.files:
        kept = io.read(output / "model" / result.file)
        clean = io.read(data / "clean" / result.file).wave[0]
        assert kept.wave.shape == (1, clean.size)
        assert result.scores.si_sdr == pytest.approx(si_sdr(clean, kept.wave[0]), abs=1e-4)


def test_the_summary_is_mean_and_standard_deviation(evaluations):
    noisy = evaluations[0][0]
    values = [result.scores.estoi for result in noisy.files]
    assert noisy.summary()["estoi"] == pytest.approx((np.mean(values), np.std(values)))


def test_the_table_on_disk_holds_every_file(evaluations):
    results, output, seen = evaluations
    with open(output / "worse.csv", newline="") as table:
        rows = list(csv.DictReader(table))
    assert [row["file"] for row in rows] == list(NAMES)
    assert float(rows[1]["si_sdr"]) == pytest.approx(results[1].files[1].scores.si_sdr)
    assert not list(output.glob(".*"))
    assert seen[:3] == [("noisy", 1, 3), ("noisy", 2, 3), ("noisy", 3, 3)]


def test_files_that_cannot_be_scored_are_reported_and_the_others_scored(data, tmp_path):
    for name in NAMES:
        for side in ("clean", "noisy"):
            io.write(tmp_path / side / name, io.read(data / side / name).wave, RATE, subtype="FLOAT")
    (tmp_path / "noisy" / "a.wav").write_bytes(b"RIFF, but no more")
    short = io.read(data / "noisy" / "sub/b.wav").wave[:, :-1000]
    io.write(tmp_path / "noisy" / "sub/b.wav", short, RATE, subtype="FLOAT")
    (result,) = evaluate(tmp_path, [("noisy", None)])
    assert [r.file for r in result.errors] == ["a.wav", "sub/b.wav"]
    assert "a.wav" in result.errors[0].error
    assert "lengths differ (clean 16800, noisy 15800, enhanced 15800 samples)" in result.errors[1].error
    assert np.isnan(result.errors[0].scores.pesq)
    assert result.summary()["si_sdr"] == (pytest.approx(20, abs=0.5), 0.0)


def test_the_time_of_files_without_scores_does_not_count():
    good, bad = FileResult("a", 2.0, 1.0, {"pesq": 1.0}), FileResult("b", 0.0, 9.0, error="shapes differ")
    assert good.scores.pesq == 1
    assert Evaluation("model", (good, bad)).real_time_factor == 0.5
    assert np.isnan(Evaluation("model", (bad,)).real_time_factor)
    assert np.isnan(Evaluation("model", (bad,)).summary()["pesq"]).all()


def test_compiling_is_not_timed_whatever_the_channels(tmp_path, monkeypatch):
    for side in ("clean", "noisy"):
        io.write(tmp_path / side / "a.wav", np.random.default_rng(0).normal(size=(2, 8000), scale=0.1), RATE)
    model = Enhancer(TINY, TINY.init(jax.random.key(0)), steps_of_one(), batch_frames=1024)
    compiled, enhance = [], Enhancer.__call__

    def watched(self, *arguments, **options):
        before = self.programs.compiled
        result = enhance(self, *arguments, **options)
        compiled.append(self.programs.compiled - before)
        return result

    monkeypatch.setattr(Enhancer, "__call__", watched)
    evaluate(tmp_path, [("model", model)])
    assert compiled == [0]
    assert model.programs.compiled == 1


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
def test_waves_are_in_memory_until_they_are_scored_and_no_longer(tmp_path, monkeypatch, backend):
    """On a CPU, where scores are computed in turn, and elsewhere, where they are computed beside."""
    names = [f"{i:02d}.wav" for i in range(20)]
    for side, name in itertools.product(("clean", "noisy"), names):
        io.write(tmp_path / side / name, np.zeros(160), RATE)
    read, waves, alive = io.read, [], []

    def remembered(path):
        audio = read(path)
        waves.append(weakref.ref(audio.wave))
        return audio

    monkeypatch.setattr(io, "read", remembered)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)  # one worker, four files
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    count = lambda *_: alive.append(sum(wave() is not None for wave in waves))  # noqa: E731
    (result,) = evaluate(tmp_path, [("noisy", None)], progress=count)
    assert [file.file for file in result.files] == names
    assert len(alive) == 20
    assert max(alive) <= 8


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere file systems refuse such names")
def test_names_that_are_not_utf_8_are_in_the_table(tmp_path):
    name = os.fsdecode(b"caf\xe9.wav")
    for side in ("clean", "noisy"):
        io.write(tmp_path / side / name, np.ones(160), RATE)
    evaluate(tmp_path, [("noisy", None)], output=tmp_path / "out")
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["noisy.csv"]
    assert b"\ncaf\xe9.wav," in (tmp_path / "out" / "noisy.csv").read_bytes()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("suffix", ["flac", "WAV", "ogg", "mp3", "aiff", "caf", "w64", "rf64", "au", "voc"])
def test_files_belong_together_whatever_their_container(data, tmp_path, suffix):
    for name in NAMES:
        for side, ending in (("clean", suffix), ("noisy", "wav"), ("better", "flac")):
            wave = io.read(data / ("clean" if side == "clean" else "noisy") / name).wave
            path = (tmp_path / side / name).with_suffix(f".{ending}")
            form = {"format": "RF64"} if suffix == "rf64" and ending == suffix else {}
            io.write(path, wave, RATE, **form)
    results = evaluate(tmp_path, [("noisy", None), ("better", tmp_path / "better")])
    for result in results:
        assert not result.errors
        assert result.summary()["si_sdr"][0] == pytest.approx(20, abs=2.5)


def test_two_files_of_one_name_are_not_chosen_from(data, tmp_path):
    wave = io.read(data / "noisy" / "a.wav").wave
    for suffix in (".flac", ".ogg"):
        io.write(tmp_path / f"a{suffix}", wave, RATE)
    (result,) = evaluate(data, [("mine", tmp_path)])
    assert "no such file, but a.flac, a.ogg; keep one of them" in result.errors[0].error
    assert "no such file, with this or another suffix" in result.errors[1].error


def shifted(data, folder, change):
    for name in NAMES:
        io.write(folder / name, change(io.read(data / "noisy" / name).wave), RATE, subtype="FLOAT")
    return evaluate(data, [("noisy", None), ("changed", folder)])


@pytest.mark.parametrize("samples", [-500, -7, 7, 160, 512])
def test_lengths_that_differ_by_a_few_hops_are_cut_and_told(data, tmp_path, samples):
    def change(wave):
        return wave[:, :samples] if samples < 0 else np.pad(wave, [(0, 0), (0, samples)])

    noisy, changed = shifted(data, tmp_path, change)
    assert len(changed.notes) == 3
    assert all("cut to " in note for note in changed.notes)
    assert changed.summary()["si_sdr"][0] == pytest.approx(noisy.summary()["si_sdr"][0], abs=0.5)


@pytest.mark.parametrize("samples", [-100, -1, 1, 100, 1999])
def test_a_delay_that_all_files_have_is_told(data, tmp_path, samples):
    changed = shifted(data, tmp_path, lambda wave: np.roll(wave, samples, axis=1))[1]
    count = f"{'a sample' if abs(samples) == 1 else f'{abs(samples)} samples'} ({abs(samples) / 16:.2f} ms)"
    words = f"3 of 3 files are {count} {'late' if samples > 0 else 'early'}, which lowers scores: shift"
    assert words in changed.notes[-1]


@pytest.mark.parametrize("half", [-5, -1, 1, 3])
def test_a_delay_of_half_samples_is_noted(data, tmp_path, half):
    def change(wave):
        frequencies = np.fft.rfftfreq(wave.shape[1] + 64)
        spectrum = np.fft.rfft(wave, wave.shape[1] + 64) * np.exp(-1j * np.pi * frequencies * half)
        return np.fft.irfft(spectrum)[:, : wave.shape[1]].astype(np.float32)

    changed = shifted(data, tmp_path, change)[1]
    assert [result.delay for result in changed.files] == [half / 2] * 3
    side = "late" if half > 0 else "early"
    assert f"3 of 3 files are {abs(half) / 2} samples ({abs(half) / 32:.2f} ms) {side}" in changed.notes[-1]


@pytest.mark.parametrize(
    ("shifts", "words"),
    [
        ((100, 0, 0), "1 of 3 files are 100 samples (6.25 ms) late, which"),
        ((100, 0, 1600), "2 of 3 files are 100 to 1600 samples (6.25 to 100.00 ms) late, which"),
        (
            (3, -8, 40),
            "2 of 3 files are 3 to 40 samples (0.19 to 2.50 ms) late and 1 of 3 files are 8 samples ",
        ),
    ],
)
def test_delays_that_differ_are_told_and_are_in_the_table(data, tmp_path, shifts, words):
    left = iter(shifts)
    for name in NAMES:
        wave = np.roll(io.read(data / "noisy" / name).wave, next(left), axis=1)
        io.write(tmp_path / "made" / name, wave, RATE, subtype="FLOAT")
    noisy, made = evaluate(data, [("noisy", None), ("made", tmp_path / "made")], output=tmp_path / "tables")
    assert not noisy.notes
    assert len(made.notes) == 1
    assert words in made.notes[0]
    with open(tmp_path / "tables" / "made.csv", newline="") as table:
        assert [int(row["delay"]) for row in csv.DictReader(table)] == list(shifts)


def test_channels_and_rates_that_differ_have_words_and_a_remedy(data, tmp_path):
    changed = shifted(data, tmp_path, lambda wave: np.repeat(wave, 2, axis=0))[1]
    assert "channels differ (clean 1, noisy 1, enhanced 2); mix the files down" in changed.errors[0].error
    for name in NAMES:
        io.write(tmp_path / name, io.read(data / "noisy" / name).wave, 48_000)
    (changed,) = evaluate(data, [("changed", tmp_path)])
    assert "rates differ (clean 16000 Hz, noisy 16000 Hz, enhanced 48000 Hz)" in changed.errors[0].error


def test_silent_outputs_count_and_are_named(data, tmp_path):
    loud = iter((1, 0, 1))
    noisy, gated = shifted(data, tmp_path, lambda wave: wave * next(loud))
    for name in SCORED:
        assert getattr(gated.files[1].scores, name) == getattr(WORST, name)
        assert gated.values(name).size == 3
        assert gated.summary()[name][0] < noisy.summary()[name][0]
    (note,) = [note for note in gated.notes if "the estimate" in note]
    assert note.startswith("sub/b.wav: ")
    assert note.endswith(f"the estimate has the worst possible {', '.join(SCORED)}: it is constant")
    assert gated.notes == [note] or not pesq_is_installed()


def test_a_clean_file_without_scores_is_left_out_for_every_method(data, tmp_path):
    for name in NAMES:
        for side in ("clean", "noisy"):
            wave = io.read(data / side / name).wave * (side == "noisy" or name != "a.wav")
            io.write(tmp_path / side / name, wave, RATE, subtype="FLOAT")
    for result in evaluate(tmp_path, [("noisy", None), ("silent", tmp_path / "clean")]):
        assert {result.values(name).size for name in SCORED} == {2}
        assert np.isnan(result.files[0].scores).all()
        assert result.notes[0].startswith("a.wav: ")
        assert f"undefined for the clean file: {', '.join(SCORED)}; excluded" in result.notes[0]


def test_a_channel_without_scores_leaves_a_file_those_of_the_other(tmp_path):
    clean = np.stack([0.1 * np.sin(np.arange(RATE) ** 1.3 / 300), np.zeros(RATE)])
    noise = np.random.default_rng(0).normal(size=clean.shape, scale=0.01)
    for side, wave in (("clean", clean), ("noisy", clean + noise)):
        io.write(tmp_path / side / "a.wav", wave, RATE, subtype="FLOAT")
    (result,) = evaluate(tmp_path, [("noisy", None)])
    assert result.summary()["si_sdr"][0] == pytest.approx(si_sdr(clean[0], (clean + noise)[0]), abs=1e-3)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_estimate_that_is_not_finite_counts_as_the_worst(data, tmp_path, bad):
    for name in NAMES:
        wave = io.read(data / "noisy" / name).wave
        io.write(tmp_path / "made" / name, wave, RATE, subtype="FLOAT")
        if name == "a.wav":
            wave[0, 100] = bad
            soundfile.write(tmp_path / "made" / name, wave[0], RATE, subtype="FLOAT")
    (result,) = evaluate(data, [("made", tmp_path / "made")])
    assert not result.errors
    assert result.values("si_sdr").min() == WORST.si_sdr
    assert result.values("si_sdr").size == 3
    assert any("a.wav: the estimate has the worst" in note and "NaN" in note for note in result.notes)


@pytest.mark.parametrize("value", [0.2, -0.5])
def test_a_constant_reference_leaves_its_file_out(tmp_path, value):
    noise = np.random.default_rng(0).normal(size=RATE, scale=0.1)
    for side, wave in (("clean", np.full(RATE, value)), ("noisy", value + noise)):
        io.write(tmp_path / side / "a.wav", wave, RATE, subtype="FLOAT")
    (result,) = evaluate(tmp_path, [("noisy", None)])
    assert np.isnan(result.files[0].scores).all()
    assert f"undefined for the clean file: {', '.join(SCORED)}; excluded" in result.notes[0]


DEADLY = """
import os, sys
import rosecd_jax.metrics as metrics
measure = metrics.measure
def deadly(names, clean, *others, **rate):
    if len(clean) == 16_800:
        os._exit(1)
    return measure(names, clean, *others, **rate)
metrics.measure = deadly
"""


@pytest.mark.slow
def test_a_process_that_dies_costs_the_scores_of_its_file_alone(data, tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text(DEADLY)  # read by the worker processes, not by this one
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (result,) = evaluate(data, [("noisy", None)])
    assert [one.file for one in result.errors] == ["sub/b.wav"]
    assert "sub/b.wav: two processes that scored it died" in result.errors[0].error
    assert {result.values(name).size for name in SCORED} == {2}


HIDE_PESQ = """
from importlib.machinery import PathFinder
find = PathFinder.find_spec
PathFinder.find_spec = classmethod(lambda cls, name, *more: None if name == "pesq" else find(name, *more))
"""


@pytest.mark.slow
def test_without_the_package_pesq_there_are_the_other_scores(data, tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text(HIDE_PESQ)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    command = [sys.executable, "-m", "rosecd_jax.cli", "evaluate", data, "--enhanced", data / "worse"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "no PESQ: it needs the package pesq (pip install 'rosecd-jax[eval]'" in done.stderr.replace(
        "\n", " "
    )
    assert "│ worse  │ 3     │ –    │" in done.stdout


@pytest.mark.parametrize("missing", ["clean", "noisy"])
def test_a_missing_folder_is_named(tmp_path, data, missing):
    present = {"clean": "noisy", "noisy": "clean"}[missing]
    io.write(tmp_path / present / "a.wav", np.zeros(800), RATE)
    with pytest.raises(io.AudioError, match=missing):
        evaluate(tmp_path, [("noisy", None)])
