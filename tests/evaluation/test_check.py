"""rosecd_jax.evaluation.check: every planted fault is found, with its files, and nothing else is reported."""

import json
import shutil
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
from tests.evaluation.faults import (
    ALSO,
    FAULTS,
    RATE,
    change,
    each,
    late,
    move,
    speech,
    write_set,
)


@pytest.fixture(scope="module")
def sound_set(tmp_path_factory) -> Path:
    return write_set(tmp_path_factory.mktemp("sound"))


@pytest.fixture
def data(sound_set, tmp_path) -> Path:
    """A copy of the set, to plant faults in."""
    return Path(shutil.copytree(sound_set, tmp_path / "data"))


def serious(findings: list[Finding]) -> set[tuple[str, str]]:
    return {(one.kind, one.severity) for one in findings if one.severity != "information"}


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
