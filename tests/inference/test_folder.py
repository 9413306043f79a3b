"""Folders: batches that change nothing, what is kept, where files may go, and when to stop."""

import dataclasses
import json
import os
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rosecd_jax.audio import io
from rosecd_jax.inference import Enhancer
from rosecd_jax.inference.report import Report, Summary
from rosecd_jax.models.enhancement import BUCKETS, padded_frames
from tests.helpers import random_params
from tests.inference.small import MODEL, outcomes, speech_like, write


@pytest.fixture(scope="module")
def batched() -> Enhancer:
    """Three at a time of the shortest, as an accelerator would."""
    return Enhancer(MODEL, random_params(MODEL), batch_frames=800)


def test_batches_change_nothing(batched, tmp_path):
    """Bit for bit: files alone, in full and in partial batches, with several channels, in any company."""
    for number, samples in enumerate([4000, 9000, 33_000, 20_000, 30_000, 40_000, 100]):
        write(tmp_path / "in" / f"{number}.wav", samples, number, subtype="FLOAT")
    stereo = np.stack([speech_like(12_000, 8), speech_like(12_000, 9)])
    io.write(tmp_path / "in" / "3a.wav", stereo, 16_000, "FLOAT")
    for i in range(2):
        reports = list(batched.enhance_folder(tmp_path / "in", tmp_path / f"out{i}", share=(0, 1 + i)))
        assert {report.status for report in reports} == {"enhanced"}
    assert batched.programs.compiled == 2  # 256 and 512 frames
    for file in io.find(tmp_path / "in"):
        batched.enhance_file(file, tmp_path / "alone" / file.name)
        alone = io.read(tmp_path / "alone" / file.name).wave
        called = batched(io.read(file).wave, 16_000)
        np.testing.assert_allclose(called, alone, atol=1e-6 * np.abs(alone).max())
        for i in range(2):
            together = tmp_path / f"out{i}" / file.name
            if i == 0 or together.exists():
                np.testing.assert_array_equal(io.read(together).wave, alone)
    assert len(io.find(tmp_path / "out1")) == 4


@settings(deadline=None, max_examples=5)
@given(st.lists(st.integers(1, 30_000), min_size=1, max_size=3), st.randoms())
def test_the_company_of_a_signal_makes_no_difference(batched, lengths, random):
    waves = [speech_like(n, n)[None] for n in lengths]
    stretches = [batched.waves.stretches(wave, batched.waves.level(wave), 0)[1][0] for wave in waves]
    shuffled = stretches.copy()
    random.shuffle(shuffled)
    one, other = (batched.programs(256, 8, some) for some in (stretches, shuffled))
    for stretch, row in zip(stretches, one, strict=True):
        index = next(i for i, s in enumerate(shuffled) if s is stretch)
        np.testing.assert_array_equal(other[index], row)


def test_batched_and_single_programs_agree(student, batched):
    wave = speech_like(20_000)
    expected = student(wave, 16_000)
    np.testing.assert_allclose(batched(wave, 16_000), expected, atol=1e-5 * np.abs(expected).max())


def test_lengths_of_half_to_twenty_seconds_need_six_programs_and_waste_a_fifth():
    lengths = np.random.default_rng(0).uniform(0.5, 20, 1000)
    frames = [1 + int(seconds * 16_000) // 128 for seconds in lengths]
    padded = [padded_frames(n, 64) for n in frames]
    assert len(set(padded)) <= 6
    assert 1 - sum(frames) / sum(padded) < 0.25
    assert padded_frames(1 + 30 * 125, 64) == max(BUCKETS)


@given(st.integers(1, 20_000), st.sampled_from([1, 16, 64, 128, 512]))
def test_buckets_hold_their_frames_in_strides(frames, stride):
    for buckets in (BUCKETS, ()):
        size = padded_frames(frames, stride, buckets)
        assert size >= frames
        assert size % 64 == 0
        assert size % stride == 0
    assert size - frames < max(64, stride)


def test_outputs_that_exist_are_refused_kept_or_replaced(student, tmp_path):
    source, target = tmp_path / "in", tmp_path / "out"
    for name in ("a.wav", "deep/b.wav", "c.wav"):
        write(source / name)
    first = list(student.enhance_folder(source, target))
    assert set(outcomes(first).values()) == {"enhanced"}
    with pytest.raises(ValueError, match=r"3 of 3 outputs exist already, such as .*a.wav; pass --resume"):
        student.enhance_folder(source, target)

    (target / "deep" / "b.wav").unlink()
    write(target / "c.wav", 5000)  # of another length: not what this program makes
    times = {file: file.stat().st_mtime_ns for file in io.find(target)}
    resumed = outcomes(student.enhance_folder(source, target, existing="resume"))
    assert resumed == {"a.wav": "kept", "b.wav": "enhanced", "c.wav": "enhanced"}
    assert (target / "a.wav").stat().st_mtime_ns == times[target / "a.wav"]

    for subtype, status in (
        ("FLOAT", "enhanced"),
        ("float", "kept"),
    ):  # an encoding that was not asked for before
        options = {"subtype": subtype, "existing": "resume"}
        assert set(outcomes(student.enhance_folder(source, target, **options)).values()) == {status}

    later = time.time() + 10
    os.utime(source / "a.wav", (later, later))
    assert outcomes(student.enhance_folder(source, target, existing="resume"))["a.wav"] == "enhanced"
    assert set(outcomes(student.enhance_folder(source, target, existing="overwrite")).values()) == {
        "enhanced"
    }


def test_an_mp3_that_was_cut_is_kept_when_it_is_done(student, tmp_path):
    write(tmp_path / "whole.mp3", 60_000)
    whole = (tmp_path / "whole.mp3").read_bytes()
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "cut.mp3").write_bytes(whole[: len(whole) // 2])
    statuses = [
        outcomes(student.enhance_folder(tmp_path / "in", tmp_path / "out", existing="resume"))
        for _ in range(2)
    ]
    assert statuses == [{"cut.mp3": "enhanced"}, {"cut.mp3": "kept"}]


@pytest.mark.parametrize("samples", [500, 90_000, 110_000])
def test_a_long_file_that_changes_while_it_is_read_is_refused(student, tmp_path, monkeypatch, samples):
    source, passes = write(tmp_path / "in" / "long.wav", 100_000), []

    def shrinking(path, *size):
        passes.append(path)
        if len(passes) == 2:
            write(source, samples)
        return read_blocks(path, *size)

    read_blocks = io.read_blocks
    monkeypatch.setattr(io, "read_blocks", shrinking)
    short = dataclasses.replace(student, limit=2.0)
    (report,) = short.enhance_folder(tmp_path / "in", tmp_path / "out")
    assert report.status == "failed"
    assert "long.wav: changed while it was read" in report.error
    assert not list((tmp_path / "out").iterdir())


def test_leftovers_of_a_killed_run_are_removed(student, tmp_path):
    write(tmp_path / "in" / "a.wav")
    leftover = tmp_path / "out" / ".a.wav.0123456789abcdef.part"
    leftover.parent.mkdir()
    leftover.write_bytes(b"half of it")
    list(student.enhance_folder(tmp_path / "in", tmp_path / "out", existing="resume"))
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["a.wav"]


def test_nothing_is_written_outside_the_output_folder(student, tmp_path):
    source, target, outside = tmp_path / "in", tmp_path / "out", tmp_path / "outside"
    outside.mkdir()
    target.mkdir()
    (target / "link").symlink_to(outside)
    write(source / "link" / "a.wav")
    write(source / "b.wav")
    (target / "b.wav").symlink_to(outside / "b.wav")
    reports = list(student.enhance_folder(source, target, existing="overwrite"))
    assert outcomes(reports) == {"a.wav": "failed", "b.wav": "enhanced"}
    assert "a link that leads out of" in reports[0].error
    assert not list(outside.iterdir())
    assert not (target / "b.wav").is_symlink()


def test_an_output_folder_inside_the_input_is_not_enhanced_again(student, tmp_path):
    write(tmp_path / "a.wav")
    for existing in ("refuse", "resume"):
        assert list(outcomes(student.enhance_folder(tmp_path, tmp_path / "out", existing=existing))) == [
            "a.wav"
        ]


def test_an_output_that_would_be_an_input_is_refused(student, tmp_path):
    source = tmp_path / "in"
    write(source / "a.wav")
    write(source / "in" / "a.wav", seed=1)
    before = (source / "a.wav").read_bytes()
    reports = list(student.enhance_folder(source, tmp_path, existing="overwrite"))
    assert sorted(report.status for report in reports) == ["enhanced", "failed"]
    failed = next(report for report in reports if report.status == "failed")
    assert failed.source == source / "in" / "a.wav"
    assert "would overwrite the input" in failed.error
    assert (source / "a.wav").read_bytes() == before


@pytest.mark.parametrize(
    ("source", "subtype", "format", "asked", "expected"),
    [
        ("a.wav", "PCM_24", None, None, ("WAV", "PCM_24")),
        ("a.wav", "PCM_U8", None, None, ("WAV", "PCM_U8")),
        ("a.wav", "FLOAT", ".FLAC", None, ("FLAC", "PCM_24")),
        ("a.wav", "PCM_16", "flac", None, ("FLAC", "PCM_16")),
        ("a.wav", "PCM_24", "ogg", None, ("OGG", "VORBIS")),
        ("a.mp3", None, "wav", None, ("WAV", "PCM_16")),
        ("a.mp3", None, None, None, ("MP3", "MPEG_LAYER_III")),
        ("a.flac", "PCM_16", None, "PCM_24", ("FLAC", "PCM_24")),
        ("a.wav", "ULAW", None, None, ("WAV", "ULAW")),
    ],
)
def test_format_and_depth_are_kept_or_as_asked(student, tmp_path, source, subtype, format, asked, expected):
    write(tmp_path / "in" / source, subtype=subtype)
    options = {"format": format, "subtype": asked}
    (report,) = student.enhance_folder(tmp_path / "in", tmp_path / "out", **options)
    assert report.status == "enhanced", report.error
    header = io.info(report.target)
    assert (header.format, header.subtype) == expected
    assert header.samples == 8000
    options["existing"] = "resume"
    assert [r.status for r in student.enhance_folder(tmp_path / "in", tmp_path / "out", **options)] == [
        "kept"
    ]


def test_a_long_file_goes_in_blocks_and_equals_the_array(student, tmp_path):
    short_limit = dataclasses.replace(student, limit=2.0)
    source = tmp_path / "in" / "long.wav"
    io.write(source, np.stack([speech_like(200_000), speech_like(200_000, 1)]), 22_050, "FLOAT")
    reports = list(short_limit.enhance_folder(tmp_path / "in", tmp_path / "out"))
    assert outcomes(reports) == {"long.wav": "enhanced"}
    expected = short_limit(io.read(source).wave, 22_050)
    np.testing.assert_array_equal(io.read(tmp_path / "out" / "long.wav").wave, expected)
    assert short_limit.enhance_file(source, tmp_path / "one.wav") == 200_000 / 22_050
    np.testing.assert_array_equal(io.read(tmp_path / "one.wav").wave, expected)


def test_who_says_stop_gets_what_is_done_and_the_rest_as_left(student, tmp_path):
    for number in range(40):
        write(tmp_path / "in" / f"{number:02}.wav", 1000, number)
    calls = []

    def stop():
        calls.append(0)
        return len(calls) > 12

    reports = list(student.enhance_folder(tmp_path / "in", tmp_path / "out", stop=stop))
    counted = [report.status for report in reports]
    assert counted == ["enhanced"] * 12 + ["left"] * 28
    assert len(io.find(tmp_path / "out")) == 12


def test_a_long_file_stops_amid_and_leaves_nothing(student, tmp_path):
    write(tmp_path / "in" / "long.wav", 400_000)
    calls = []

    def stop():
        calls.append(0)
        return len(calls) > 9

    (report,) = dataclasses.replace(student, limit=2.0).enhance_folder(
        tmp_path / "in", tmp_path / "out", stop=stop
    )
    assert report.status == "left"
    assert not list((tmp_path / "out").iterdir())


def test_a_caller_that_goes_away_ends_the_work(student, tmp_path):
    for number in range(60):
        write(tmp_path / "in" / f"{number:02}.wav", 1000, number)
    reports = student.enhance_folder(tmp_path / "in", tmp_path / "out")
    next(reports)
    reports.close()  # type: ignore[attr-defined]
    assert len(io.find(tmp_path / "out")) < 60
    assert all(not file.name.startswith(".") for file in (tmp_path / "out").iterdir())


def test_outputs_behind_a_link_inside_the_input_are_no_inputs(student, tmp_path):
    write(tmp_path / "in" / "a.wav")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "in" / "out").symlink_to(tmp_path / "elsewhere")
    for status in ("enhanced", "kept"):
        reports = student.enhance_folder(tmp_path / "in", tmp_path / "in" / "out", existing="resume")
        assert outcomes(reports) == {"a.wav": status}


def test_a_summary_is_json_even_of_odd_names(tmp_path):
    summary = Summary({"seed": 1})
    for status in ("enhanced", "enhanced", "failed"):
        summary.reports.append(Report(Path("ä\n\udcff.wav"), Path("b.wav"), status, 2.0, "why"))
    summary.write(tmp_path / "deep" / "report.json")
    content = json.loads((tmp_path / "deep" / "report.json").read_text())
    assert content["counts"] == {"enhanced": 2, "kept": 0, "failed": 1, "left": 0, "skipped": 0}
    assert content["audio_seconds"] == 4
    assert content["files"][0]["error"] == "why"
    summary.write(tmp_path / "deep" / "report.json")  # a report may replace a report, and nothing else
    assert [file.name for file in (tmp_path / "deep").iterdir()] == ["report.json"]
    (tmp_path / "notes.json").write_text("[1]")
    for name in ("notes.json", "new.wav", "deep"):
        with pytest.raises(ValueError, match=f"{name}: is not a report"):
            summary.write(tmp_path / name)
    assert "2 of 3 files enhanced into out (1 failed): 4.0 s of audio" in summary.line(Path("out"))


def test_threads_share_an_enhancer(student):
    from concurrent.futures import ThreadPoolExecutor

    fresh = dataclasses.replace(student)
    waves = [speech_like(9000, seed) for seed in range(6)]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda wave: fresh(wave, 16_000), waves))
    assert fresh.programs.compiled == 1
    for wave, enhanced in zip(waves, together, strict=True):
        np.testing.assert_array_equal(student(wave, 16_000), enhanced)


def test_a_program_that_fails_to_compile_fails_again_and_does_not_hang(student):
    broken = Enhancer(MODEL, jax.tree.map(lambda p: p[..., :0], student.params))
    for _ in range(2):
        with pytest.raises(Exception, match=r".+"):
            broken(speech_like(100), 16_000)
