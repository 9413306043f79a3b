"""Folders with a failing file: it is reported by name, and all others are enhanced."""

import dataclasses
import os
from pathlib import Path

import jax
import numpy as np
import pytest

from rosecd_jax.audio import io
from rosecd_jax.inference import Enhancer
from rosecd_jax.inference.pipeline import enhance_folder
from rosecd_jax.inference.plan import plan_folder
from rosecd_jax.inference.report import Summary
from rosecd_jax.models import ScoreModel
from tests.helpers import run_without_privilege
from tests.inference.small import STUDENT, outcomes, speech_like, write


def test_progress_comes_to_the_sum_of_all_files_even_of_those_that_fail(student, tmp_path):
    short = dataclasses.replace(student, limit=1.0)
    write(tmp_path / "in" / "short.wav", 8000)
    write(tmp_path / "in" / "long.wav", 48_000)
    damaged = write(tmp_path / "in" / "damaged.flac", 64_000)
    damaged.write_bytes(damaged.read_bytes()[:-20_000])
    write(tmp_path / "in" / "silent.flac", 8000).write_bytes(b"fLaC")
    unfinished = write(tmp_path / "in" / "unfinished.wav", 64_000, subtype="FLOAT")
    content = bytearray(unfinished.read_bytes())
    content[-4:] = np.float32(np.nan).tobytes()
    unfinished.write_bytes(content)
    plan = plan_folder(tmp_path / "in", tmp_path / "out", "refuse", None, None, (0, 1))
    done: list[float] = []
    reports = list(enhance_folder(short.waves, plan, 0, None, lambda: False, done.append))
    assert outcomes(reports)["unfinished.wav"] == outcomes(reports)["damaged.flac"] == "failed"
    assert sum(done) == pytest.approx(sum(job.seconds for job in plan.jobs))


class Exhausting(ScoreModel):
    """Its program fails while it runs, as XLA's do for want of memory, for more than 256 frames."""

    def raw(self, params, x_t, y, t):
        def fail(x_t):
            raise MemoryError("not enough of it")

        return jax.pure_callback(fail, x_t, x_t) if x_t.shape[-1] > 256 else x_t


def test_a_file_that_cannot_be_computed_fails_by_itself(tmp_path):
    exhausting = Enhancer(Exhausting(STUDENT), {}, limit=4, batch_frames=1024)
    write(tmp_path / "in" / "short.wav", 8000)
    io.write(tmp_path / "in" / "stereo.wav", np.stack([speech_like(48_000)] * 2), 16_000)
    write(tmp_path / "in" / "windows.wav", 80_000)
    errors = {r.source.name: r.error for r in exhausting.enhance_folder(tmp_path / "in", tmp_path / "out")}
    assert errors.pop("short.wav") == ""
    for name in ("stereo.wav", "windows.wav"):
        assert f"{name}: could not be computed (" in errors[name]
        assert "not enough of it" in errors[name]
        assert "--batch-frames" in errors[name]
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["short.wav"]


def test_what_cannot_be_read_is_named_and_the_rest_is_enhanced(student, tmp_path):
    write(tmp_path / "in" / "a.wav")
    for name in ("film.MP4", "memo.m4a", "notes.txt"):
        (tmp_path / "in" / name).write_bytes(b"...")
    reports = list(student.enhance_folder(tmp_path / "in", tmp_path / "out"))
    assert outcomes(reports) == {"a.wav": "enhanced", "film.MP4": "skipped", "memo.m4a": "skipped"}
    summary = Summary({}, reports)
    assert "1 of 3 files enhanced into out (2 skipped .m4a .mp4): 0.5 s" in summary.line(Path("out"))
    shares = [student.enhance_folder(tmp_path / "in", tmp_path / "o", share=(i, 2)) for i in range(2)]
    assert [len(list(share)) for share in shares] == [3, 0]


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions of POSIX")
def test_a_folder_that_cannot_be_read_fails_by_itself(tmp_path):
    write(tmp_path / "in" / "a.wav")
    (tmp_path / "in" / "closed").mkdir(mode=0)
    code = (
        "from pathlib import Path; from rosecd_jax.inference.plan import plan_folder; "
        "here = Path(sys.argv[1]); "
        "plan = plan_folder(here / 'in', here / 'out', 'refuse', None, None, (0, 1)); "
        "print([job.source.name for job in plan.jobs], [report[2:] for report in plan.settled])"
    )
    try:
        printed = run_without_privilege(code, tmp_path)
    finally:
        (tmp_path / "in" / "closed").chmod(0o700)
    error = f"{tmp_path}/in/closed: cannot be read (Permission denied); change its permissions"
    assert printed.strip() == f"['a.wav'] [('failed', 0.0, {error!r}, 0, 0.0)]"


def test_a_rate_that_the_output_cannot_have_is_refused_before_the_work(student, tmp_path):
    for rate in (44_100, 48_000):
        io.write(tmp_path / "in" / f"{rate}.wav", speech_like(8000), rate)
    plan = plan_folder(tmp_path / "in", tmp_path / "out", "refuse", "opus", None, (0, 1))
    assert [job.source.name for job in plan.jobs] == ["48000.wav"]
    assert [report.source.name for report in plan.settled] == ["44100.wav"]
    assert "44100.opus: OGG cannot hold 1 channel(s) at 44100 Hz as OPUS" in plan.settled[0].error

    compiled = student.waves.programs.compiled
    with pytest.raises(io.AudioError, match="at 44100 Hz as OPUS"):
        student.enhance_file(tmp_path / "in" / "44100.wav", tmp_path / "out.opus")
    assert student.waves.programs.compiled == compiled
    assert os.listdir(tmp_path) == ["in"]


def test_a_header_that_promises_a_long_file_of_a_few_samples(student, tmp_path):
    short = dataclasses.replace(student, limit=1.0)
    write(tmp_path / "whole.mp3", 64_000)
    cut = tmp_path / "in" / "cut.mp3"
    write(tmp_path / "in" / "good.wav")
    cut.write_bytes((tmp_path / "whole.mp3").read_bytes()[:1000])
    if io.info(cut).samples < 32_000:
        pytest.skip("this libsndfile doesn't believe the header")
    found = outcomes(short.enhance_folder(tmp_path / "in", tmp_path / "out"))
    assert found == {"cut.mp3": "enhanced", "good.wav": "enhanced"}
    assert io.read(tmp_path / "out" / "cut.mp3").wave.shape[1] < 8000


def test_short_files_do_not_wait_for_a_long_one_which_ends_with_its_caller(student, tmp_path):
    short = dataclasses.replace(student, limit=1.0)
    io.write(tmp_path / "in" / "0.wav", np.tile(speech_like(160_000), 60), 16_000)  # ten minutes
    for number in (1, 2, 3):
        write(tmp_path / "in" / f"{number}.wav", 4000 + number)
    reports = short.enhance_folder(tmp_path / "in", tmp_path / "out")
    found = outcomes(next(reports) for _ in range(3))
    assert found == {"1.wav": "enhanced", "2.wav": "enhanced", "3.wav": "enhanced"}
    reports.close()  # type: ignore[attr-defined]
    assert sorted(os.listdir(tmp_path / "out")) == ["1.wav", "2.wav", "3.wav"]


def test_an_error_that_nobody_thought_of_fails_one_file_alone(student, tmp_path, monkeypatch):
    read = io.read

    def odd(path, *options):
        if path.name == "4321.wav":
            raise ZeroDivisionError("odd")
        return read(path, *options)

    for samples in (1000, 4321, 8000):
        write(tmp_path / "in" / f"{samples}.wav", samples)
    monkeypatch.setattr(io, "read", odd)
    reports = list(student.enhance_folder(tmp_path / "in", tmp_path / "out"))
    assert outcomes(reports) == {"1000.wav": "enhanced", "4321.wav": "failed", "8000.wav": "enhanced"}
    (error,) = (report.error for report in reports if report.error)
    assert "4321.wav: could not be computed (ZeroDivisionError: odd); this should not happen" in error
