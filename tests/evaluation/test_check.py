"""rosecd_jax.evaluation.check: every planted fault is found, with its files, and nothing else is reported."""

import json
import shutil
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from rosecd_jax.audio import io
from rosecd_jax.audio.mixing import mix_at_snr
from rosecd_jax.cli import app
from rosecd_jax.data.corpus import noises
from rosecd_jax.evaluation.check import Finding, check, examine
from rosecd_jax.evaluation.check import voicebank as published
from rosecd_jax.evaluation.check.facts import Facts, Scores, Side
from rosecd_jax.evaluation.check.run import JUDGES
from rosecd_jax.processes import Workers

RATE = 16_000
NAMES = ("a.wav", "b.wav", "c.wav", "sub/d.wav", "sub/e.wav")
SNRS = (0.0, 5.0, 10.0, 15.0, 20.0)


def speech(seed: int, samples: int) -> np.ndarray:
    """Speech-like signal: voiced syllables, hisses up to 8 kHz, pauses; [samples]."""
    generator = np.random.default_rng(seed)
    wave = 1e-4 * generator.normal(size=samples)
    start = 800
    while start < samples - 4800:
        length = int(generator.integers(1600, 4000))
        time = np.arange(length) / RATE
        phase = 2 * np.pi * np.cumsum(generator.uniform(90, 220) * (1 + 0.2 * np.sin(9 * time))) / RATE
        voiced = sum(np.sin(k * phase) / k for k in range(1, 30)) + 0.02 * generator.normal(size=length)
        hiss = 0.3 * np.diff(generator.normal(size=length + 1))
        syllable = hiss if generator.random() < 0.3 else voiced
        wave[start : start + length] += generator.uniform(0.3, 1) * np.hanning(length) * syllable
        start += length + int(generator.integers(0, 1600))
    return 0.4 * wave / np.abs(wave).max()


def write_set(folder: Path, names: tuple[str, ...] = NAMES, seed: int = 0) -> Path:
    for i, name in enumerate(names):
        samples = 24_000 + 800 * i
        noise = noises.colored(np.random.default_rng(seed + 100 + i), samples, RATE)
        clean, noisy = mix_at_snr(speech(seed + i, samples), noise, SNRS[i % len(SNRS)])
        io.write(folder / "clean" / name, clean, RATE)
        io.write(folder / "noisy" / name, noisy, RATE)
    return folder


@pytest.fixture(scope="module")
def sound_set(tmp_path_factory) -> Path:
    return write_set(tmp_path_factory.mktemp("sound"))


@pytest.fixture
def data(sound_set, tmp_path) -> Path:
    """A copy of the set, to plant faults in."""
    return Path(shutil.copytree(sound_set, tmp_path / "data"))


def serious(findings: list[Finding]) -> set[tuple[str, str]]:
    return {(one.kind, one.severity) for one in findings if one.severity != "information"}


def change(
    file: Path, how: Callable[[np.ndarray], np.ndarray], rate: int = RATE, subtype: str = "FLOAT"
) -> None:
    io.write(file, how(io.read(file).wave), rate, subtype=subtype)


def each(data: Path, how: Callable[[np.ndarray], np.ndarray], *sides: str) -> None:
    for side in sides or ("clean", "noisy"):
        for name in NAMES:
            change(data / side / name, how)


def late(samples: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda wave: np.roll(wave, samples, axis=1)


def clip(wave: np.ndarray) -> np.ndarray:
    most = 0.5 * np.abs(wave).max()
    return 1.3 * np.clip(wave, -most, most)


def move(data: Path, old: str, new: str) -> None:
    (data / new).parent.mkdir(exist_ok=True, parents=True)
    (data / old).rename(data / new)


def band(wave: np.ndarray) -> np.ndarray:
    """Through 8 kHz and back."""
    return io.resample(io.resample(wave, RATE, 8000), 8000, RATE)[:, : wave.shape[1]]


def stereo(wave: np.ndarray) -> np.ndarray:
    return np.repeat(wave, 2, axis=0)


def swap(data: Path) -> None:
    move(data, "clean", "other")
    move(data, "noisy", "clean")
    move(data, "other", "noisy")


def exchange(data: Path) -> None:
    """Two noisy files have each other's names."""
    move(data, "noisy/a.wav", "a")
    move(data, "noisy/b.wav", "noisy/a.wav")
    move(data, "a", "noisy/b.wav")


def renoise(data: Path) -> None:
    """The same recordings at -12 dB."""
    for i, name in enumerate(NAMES):
        clean = io.read(data / "clean" / name).wave[0]
        noise = noises.colored(np.random.default_rng(i), clean.size, RATE)
        for side, wave in zip(("clean", "noisy"), mix_at_snr(clean, noise, -12), strict=True):
            io.write(data / side / name, wave, RATE, subtype="FLOAT")


def copy(data: Path, old: str, new: str) -> None:
    for side in ("clean", "noisy"):
        shutil.copy(data / side / old, data / side / new)


def damage(file: Path) -> None:
    file.write_bytes(b"RIFF, but no more")


def not_a_number(file: Path) -> None:
    wave = io.read(file).wave
    wave[0, 99] = np.nan
    soundfile.write(file, wave.T, RATE, "FLOAT")


def resample(file: Path, rate: int) -> None:
    io.write(file, io.resample(io.read(file).wave, RATE, rate), rate)


def resample_all(data: Path, rate: int) -> None:
    for side in ("clean", "noisy"):
        for name in NAMES:
            resample(data / side / name, rate)


ALL_NOISY = {f"noisy/{name}" for name in NAMES}
ALL_CLEAN = {f"clean/{name}" for name in NAMES}
ALL = ALL_CLEAN | ALL_NOISY
FAULTS: dict[str, tuple[Callable[[Path], object], str, str, set[str]]] = {
    "no counterpart": (lambda d: (d / "noisy/a.wav").unlink(), "missing", "error", {"clean/a.wav"}),
    "no target": (lambda d: (d / "clean/a.wav").unlink(), "extra", "error", {"noisy/a.wav"}),
    "other name": (
        lambda d: move(d, "noisy/a.wav", "noisy/a_noisy.wav"), "misnamed", "error", {"noisy/a_noisy.wav"},
    ),
    "other folder": (
        lambda d: move(d, "noisy/sub/d.wav", "noisy/d.wav"), "misnamed", "error", {"noisy/d.wav"},
    ),
    "one stem, two files": (
        lambda d: io.write(d / "clean/a.flac", io.read(d / "clean/a.wav").wave / 2, RATE),
        "ambiguous", "error", {"clean/a.flac", "clean/a.wav"},
    ),
    "damaged": (lambda d: damage(d / "noisy/b.wav"), "unreadable", "error", {"noisy/b.wav"}),
    "unknown format": (lambda d: damage(d / "noisy/b.m4a"), "unreadable", "warning", {"noisy/b.m4a"}),
    "NaN": (lambda d: not_a_number(d / "clean/b.wav"), "not finite", "error", {"clean/b.wav"}),
    "silent clean": (lambda d: change(d / "clean/b.wav", np.zeros_like), "silence", "error", {"clean/b.wav"}),
    "constant noisy": (
        lambda d: change(d / "noisy/b.wav", np.ones_like), "silence", "error", {"noisy/b.wav"},
    ),
    "longer": (
        lambda d: change(d / "noisy/c.wav", lambda x: np.pad(x, ((0, 0), (0, 900)))),
        "length", "error", {"noisy/c.wav"},
    ),
    "a little shorter": (
        lambda d: change(d / "noisy/c.wav", lambda x: x[:, :-200]), "length", "warning", {"noisy/c.wav"},
    ),
    "one late": (lambda d: change(d / "noisy/a.wav", late(40)), "delay", "error", {"noisy/a.wav"}),
    "one sample early": (lambda d: change(d / "noisy/c.wav", late(-1)), "delay", "warning", {"noisy/c.wav"}),
    "all late": (lambda d: each(d, late(160), "noisy"), "delay", "error", ALL_NOISY),
    "very late": (lambda d: change(d / "noisy/c.wav", late(8000)), "delay", "error", {"noisy/c.wav"}),
    "others' names": (exchange, "unlike", "error", {"noisy/a.wav", "noisy/b.wav"}),
    "one louder": (lambda d: change(d / "noisy/c.wav", lambda x: 2 * x), "gain", "warning", {"noisy/c.wav"}),
    "all less loud": (lambda d: each(d, lambda x: 0.7 * x, "noisy"), "gain", "warning", ALL_NOISY),
    "inverted": (lambda d: change(d / "noisy/c.wav", np.negative), "polarity", "error", {"noisy/c.wav"}),
    "no noise": (
        lambda d: shutil.copy(d / "clean/b.wav", d / "noisy/b.wav"), "equal", "error", {"noisy/b.wav"},
    ),
    "swapped folders": (swap, "swapped", "error", ALL_NOISY),
    "very noisy": (renoise, "snr", "warning", set()),
    "very low": (lambda d: each(d, lambda x: 3e-3 * x), "level", "warning", ALL),
    "beyond full scale": (
        lambda d: [change(d / side / "b.wav", lambda x: 2.9 * x) for side in ("clean", "noisy")],
        "level", "warning", {"clean/b.wav", "noisy/b.wav"},
    ),
    "clipped clean": (lambda d: change(d / "clean/c.wav", clip), "clipping", "warning", {"clean/c.wav"}),
    "clipped noisy": (lambda d: change(d / "noisy/a.wav", clip), "clipping", "warning", {"noisy/a.wav"}),
    "offset": (lambda d: change(d / "noisy/a.wav", lambda x: x + 0.02), "offset", "warning", {"noisy/a.wav"}),
    "upsampled": (lambda d: each(d, band, "clean"), "bandwidth", "warning", ALL_CLEAN),
    "one pair at 48 kHz": (lambda d: resample(d / "noisy/a.wav", 48_000), "rate", "error", {"noisy/a.wav"}),
    "all at 8 kHz": (lambda d: resample_all(d, 8000), "rate", "warning", set()),
    "two channels": (
        lambda d: [change(d / side / "b.wav", stereo) for side in ("clean", "noisy")],
        "channels", "warning", {"clean/b.wav", "noisy/b.wav"},
    ),
    "one side in stereo": (
        lambda d: change(d / "noisy/b.wav", stereo),
        "channels", "error", {"noisy/b.wav"},
    ),
    "too short": (
        lambda d: [change(d / side / "b.wav", lambda x: x[:, 9000:14000]) for side in ("clean", "noisy")],
        "short", "warning", {"clean/b.wav", "noisy/b.wav"},
    ),
    "twice": (lambda d: copy(d, "b.wav", "f.wav"), "duplicate", "warning",
        {f"{side}/{name}.wav" for side in ("clean", "noisy") for name in "bf"},
    ),
}  # fmt: skip
ALSO = {
    "clipped clean": {("gain", "warning")},
    "clipped noisy": {("gain", "warning")},
    "one pair at 48 kHz": {("rate", "warning"), ("bandwidth", "warning")},
    "others' names": {("length", "error")},
    "one side in stereo": {("channels", "warning")},
}
"""What such a fault makes wrong besides."""


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_and_nothing_else(data, fault):
    plant, kind, severity, files = FAULTS[fault]
    plant(data)
    findings = check(data)
    found = [one for one in findings if (one.kind, one.severity) == (kind, severity)]
    assert found, findings
    assert set().union(*(one.files for one in found)) == files, found
    assert all(one.remedy and one.message for one in found)
    assert serious(findings) <= {(kind, severity)} | ALSO.get(fault, set()), findings


def test_nothing_is_wrong_with_a_sound_set(sound_set):
    findings = check(sound_set)
    assert not serious(findings)
    assert [one.kind for one in findings] == ["snr"]
    assert "SNR of 5 pairs: 0.0, 2.0, 10.0, 18.0, 20.0 dB" in findings[0].message


@pytest.mark.parametrize("kind", [*noises.GENERATORS, "babble"])
def test_no_kind_of_noise_raises_an_alarm(tmp_path, kind):
    for i, snr in enumerate((-5, 0, 5, 15)):
        generator = np.random.default_rng(i)
        clean = speech(i, 32_000)
        if kind == "babble":
            noise = noises.babble(generator, clean.size, [speech(50 + 5 * i + k, 32_000) for k in range(4)])
        else:
            noise = noises.GENERATORS[kind](generator, clean.size, RATE)
        for side, wave in zip(("clean", "noisy"), mix_at_snr(clean, noise, snr), strict=True):
            io.write(tmp_path / side / f"{i}.wav", wave, RATE)
    assert not serious(check(tmp_path))


def test_figures_are_those_that_were_planted(data):
    change(data / "noisy/a.wav", late(40))
    change(data / "noisy/c.wav", late(-24))
    change(data / "noisy/b.wav", lambda wave: 2 * wave)
    found = {one.kind: one for one in check(data)}
    assert dict(zip(found["delay"].files, found["delay"].figures, strict=True)) == {
        "noisy/a.wav": 40,
        "noisy/c.wav": -24,
    }
    assert "2 of 5 noisy files late (below 0: early), by -24 to 40 samples" in found["delay"].message
    assert found["gain"].figures == pytest.approx([6.02], abs=0.3)


def test_a_delay_that_all_files_have_is_one_finding(data):
    each(data, late(160), "noisy")
    (found,) = [one for one in check(data) if one.kind == "delay"]
    assert found.message.startswith("all 5 noisy files late")
    assert "160 samples (10.00 ms)" in found.message
    assert found.remedy.startswith("one constant delay")


def test_rates_that_differ_only_in_the_header_have_another_remedy(data):
    change(data / "noisy/a.wav", lambda wave: wave, rate=8000)
    remedies = [one.remedy for one in check(data) if (one.kind, one.severity) == ("rate", "error")]
    assert "one header is wrong" in remedies[0]


def test_misnamed_files_are_paired_by_what_their_names_share(tmp_path):
    write_set(tmp_path, ("clean_fileid_1.wav", "clean_fileid_12.wav"))
    for number in (1, 12):
        move(tmp_path, f"noisy/clean_fileid_{number}.wav", f"noisy/book_snr5_fileid_{number}.wav")
    (found,) = [one for one in check(tmp_path) if one.severity == "error"]
    assert found.kind == "misnamed"
    assert "noisy/book_snr5_fileid_12.wav -> noisy/clean_fileid_12.wav" in found.remedy


def test_other_suffixes_and_lossy_encodings_are_information(data):
    io.write(data / "noisy/a.flac", io.read(data / "noisy/a.wav").wave, RATE)
    (data / "noisy/a.wav").unlink()
    soundfile.write(data / "clean/b.ogg", io.read(data / "clean/b.wav").wave.T, RATE, "VORBIS", format="OGG")
    (data / "clean/b.wav").unlink()
    findings = {one.kind: one for one in check(data)}
    assert findings["suffix"].files == ("noisy/a.flac", "noisy/b.wav")
    assert findings["encoding"].files == ("clean/b.ogg",)
    assert {findings[kind].severity for kind in ("suffix", "encoding")} == {"information"}


def test_splits_are_checked_together_and_what_they_share_is_an_error(tmp_path):
    write_set(tmp_path / "train")
    write_set(tmp_path / "test", seed=30)
    assert not serious(check(tmp_path))
    for side in ("clean", "noisy"):
        shutil.copy(tmp_path / "train" / side / "a.wav", tmp_path / "test" / side / "z.wav")
    found = [one for one in check(tmp_path) if one.kind == "leak"]
    assert {file for one in found for file in one.files} == {
        f"{split}/{side}/{name}" for split, name in (("train", "a.wav"), ("test", "z.wav"))
        for side in ("clean", "noisy")
    }  # fmt: skip
    assert {one.severity for one in found} == {"error"}


def test_a_clean_file_mixed_twice_is_no_fault(data):
    clean = io.read(data / "clean/a.wav").wave[0]
    noise = noises.colored(np.random.default_rng(9), clean.size, RATE)
    shutil.copy(data / "clean/a.wav", data / "clean/f.wav")
    io.write(data / "noisy/f.wav", clean + 0.02 * noise, RATE)
    findings = check(data)
    assert not serious(findings)
    assert [one.files for one in findings if one.kind == "duplicate"] == [("clean/a.wav", "clean/f.wav")]


def test_scores_of_a_part_of_the_test_set_are_not_compared(tmp_path):
    pytest.importorskip("pystoi")
    write_set(tmp_path, ("p232_001.wav", "p257_002.wav"))
    (found,) = [one for one in check(tmp_path) if one.kind == "voicebank"]
    assert found.severity == "information"
    assert "2 of 824 pairs" in found.message
    assert "SI-SDR 2.5 (" in found.message
    assert "can't be compared" in found.remedy


@pytest.mark.parametrize(("pesq", "severity"), [(1.97, "information"), (2.97, "warning")])
def test_the_whole_test_set_has_the_published_scores_or_is_another(pesq, severity):
    spread = np.random.default_rng(0).normal(size=published.FILES)
    spread -= spread.mean()
    facts = []
    for i, more in enumerate(spread):
        side = Side(f"clean/p{(232, 257)[i % 2]}_{i // 2:03d}.wav", sample_rate=RATE, samples=RATE)
        scores = Scores(pesq + 0.3 * more, 0.787 + 0.05 * more, 8.45 + 3 * more)
        facts.append(Facts("", side, side, scores=scores))
    (found,) = published.voicebank(facts)
    assert found.severity == severity
    assert ("wide-band" in found.remedy) == (severity == "warning")


def test_processes_find_what_one_finds(data):
    change(data / "noisy/a.wav", late(40))
    seen = []
    assert check(data, workers=2, progress=lambda *words: seen.append(words)) == check(data)
    assert seen == [(i, 5) for i in range(1, 6)]


def test_a_pair_whose_process_dies_is_unreadable_and_the_others_are_measured(data, monkeypatch):
    result = Workers.result

    def die(workers, job):
        if job.arguments[0].clean == "clean/b.wav":
            raise BrokenProcessPool
        return result(workers, job)

    monkeypatch.setattr(Workers, "result", die)
    report = examine(data, workers=1)
    (found,) = [one for one in report.findings if one.severity == "error"]
    assert (found.kind, found.files) == ("unreadable", ("clean/b.wav", "noisy/b.wav"))
    assert sum(one.relation is not None for one in report.facts) == 4


def test_judges_say_nothing_about_no_files():
    assert [finding for judge in JUDGES for finding in judge([])] == []


def test_long_files_are_measured_in_part_and_compared_as_a_whole(data):
    facts = examine(data).facts
    for name in ("f.wav", "g.wav"):
        for side, pair in (("clean", facts[2].clean), ("noisy", facts[2].noisy)):
            wave = np.tile(io.read(data / pair.file).wave, 45)
            wave[:, -1] += 0.01 * (name == "g.wav")
            io.write(data / side / name, wave, RATE, subtype="FLOAT")
    findings = check(data)
    assert not serious(findings)
    assert not [one for one in findings if one.kind == "duplicate"]


def test_the_command_prints_the_worst_first_writes_json_and_exits_with_1(data, tmp_path):
    change(data / "noisy/a.wav", late(40))
    change(data / "noisy/c.wav", lambda wave: 2 * wave)
    result = CliRunner().invoke(app, ["check", str(data), "--report", str(tmp_path / "out" / "check.json")])
    assert result.exit_code == 1
    assert result.stdout.index("delay") < result.stdout.index("gain") < result.stdout.index("snr")
    assert "1 error, 1 warning, 1 information" in result.stdout
    written = json.loads((tmp_path / "out" / "check.json").read_text())
    assert [finding["kind"] for finding in written["findings"]] == ["delay", "gain", "snr"]
    assert written["facts"][0]["relation"]["delay"] == 40
    assert written["pairs"] == 5


def test_the_command_exits_with_0_if_there_is_no_error(sound_set):
    result = CliRunner().invoke(app, ["check", str(sound_set)])
    assert result.exit_code == 0, result.output
    assert "5 pairs, 8.0 s: 0 errors, 0 warnings, 1 information" in result.stdout


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (("a.wav", "b.flac"), "holds 2 audio files, but neither clean/ and noisy/"),
        (("clean/a.wav",), "holds no noisy/"),
        ((), "no such folder"),
    ],
)
def test_a_folder_without_pairs_gets_a_clear_error(tmp_path, files, words):
    for name in files:
        io.write(tmp_path / "data" / name, np.zeros(1600), RATE)
    result = CliRunner().invoke(app, ["check", str(tmp_path / "data")])
    assert result.exit_code == 1
    assert words in " ".join(result.output.split())
