"""Ends of rosecd enhance: a kill, signals, a full disk, a closed output, one of many processes."""

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rosecd_jax.audio import io
from tests.commands import ROOT, command, kept_programs, run, save_student, tone

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def programs(tmp_path_factory):
    """The commands of this file share a cache of compiled programs."""
    with kept_programs(tmp_path_factory.mktemp("programs")):
        yield


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return save_student(tmp_path_factory.mktemp("model"))


def make_folder(path: Path, count: int, samples: int = 4000) -> Path:
    for number in range(count):
        wave = np.random.default_rng(number).uniform(-0.5, 0.5, samples + number)
        io.write(path / f"{number % 5}" / f"{number:03}.wav", wave, 16_000)
    return path


def wait_for(condition: Callable[[], object], process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 300
    while not condition():
        assert process.poll() is None, "the process ended early"
        assert time.monotonic() < deadline
        time.sleep(0.001)


def outputs(path: Path) -> dict[str, tuple[int, bytes]]:
    files = [file for file in path.rglob("*") if file.is_file() and not file.name.startswith(".")]
    return {str(file.relative_to(path)): (file.stat().st_mtime_ns, file.read_bytes()) for file in files}


def test_a_killed_folder_of_a_hundred_goes_on_where_it_was(checkpoint, tmp_path):
    source, target, report = make_folder(tmp_path / "in", 100), tmp_path / "out", tmp_path / "report.json"
    words = (source, target, "-c", checkpoint, "--resume", "--report", report)
    done: dict[str, tuple[int, bytes]] = {}
    for more in (1, 20):  # once at the beginning, once amid
        process = subprocess.Popen(command(*words), cwd=ROOT, stderr=subprocess.PIPE)
        least = len(done) + more
        wait_for(lambda least=least: len(list(target.rglob("*.wav"))) >= least, process)
        process.kill()
        process.wait()
        after = outputs(target)
        assert least <= len(after) < 100
        assert {name: after[name] for name in done} == done  # none was done twice
        done = after
        for name in done:  # none is partial
            assert io.info(target / name)[:3] == io.info(source / name)[:3]
    last = run(*words)
    assert last.returncode == 0, last.stderr
    after = outputs(target)
    assert len(after) == 100
    assert {name: after[name] for name in done} == done
    counts = json.loads(report.read_text())["counts"]
    assert counts == {"enhanced": 100 - len(done), "kept": len(done), "failed": 0, "left": 0, "skipped": 0}
    assert not list(target.rglob(".*"))

    fresh = run(source, tmp_path / "fresh", "-c", checkpoint)
    assert fresh.returncode == 0
    assert {n: content for n, (_, content) in outputs(tmp_path / "fresh").items()} == {
        n: content for n, (_, content) in after.items()
    }


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_after_the_files_under_way(checkpoint, tmp_path, number):
    source, target, report = make_folder(tmp_path / "in", 300), tmp_path / "out", tmp_path / "report.json"
    words = (source, target, "-c", checkpoint, "--report", report)
    process = subprocess.Popen(command(*words), cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    wait_for(lambda: list(target.rglob("*.wav")), process)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=300)
    assert process.returncode == 128 + number
    content = json.loads(report.read_text())
    assert content["state"] == f"ended by {number.name}"
    assert content["counts"]["enhanced"] == len(outputs(target)) < 300
    assert content["counts"]["left"] == 300 - len(outputs(target))
    assert f"of 300 files enhanced into {target}" in stdout.decode()
    assert "--resume continues" in stderr.decode()
    assert "Traceback" not in stderr.decode()


def test_a_second_interrupt_drops_what_is_under_way(checkpoint, tmp_path):
    """In the middle of a file that takes minutes: nothing is waited for, and nothing partial is left.

    A short file was done meanwhile, which counts.
    """
    source, target, report = tmp_path / "in", tmp_path / "out", tmp_path / "report.json"
    io.write(source / "a.wav", tone(60 * 60 * 16_000), 16_000)
    io.write(source / "b.wav", tone(100), 16_000)
    words = command(source, target, "-c", checkpoint, "--report", report, "--steps", "50")
    process = subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    limit = threading.Timer(300, process.kill)  # nothing else ends a wait for a line that doesn't come
    limit.start()
    wait_for(lambda: list(target.rglob(".a.wav*")) and (target / "b.wav").exists(), process)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    while "Ctrl-C again" not in (line := process.stderr.readline()):
        assert line, "it ended, or was ended, without a word"
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=120)
    limit.cancel()
    assert time.monotonic() - begun < 20
    assert process.returncode == 130
    assert "Traceback" not in stderr
    content = json.loads(report.read_text())
    assert content["state"] == "interrupted"
    statuses = {Path(file["source"]).name: file["status"] for file in content["files"]}
    assert statuses == {"a.wav": "left", "b.wav": "enhanced"}
    assert not list(target.rglob(".*"))


def test_a_lost_terminal_ends_as_a_signal_does_unless_it_is_ignored(checkpoint, tmp_path):
    for prefix in ([], ["nohup"]):
        source, target = make_folder(tmp_path / "in", 400), tmp_path / f"out{len(prefix)}"
        words = [*prefix, *command(source, target, "-c", checkpoint)]
        process = subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
        wait_for(lambda target=target: list(target.rglob("*.wav")), process)
        process.send_signal(signal.SIGHUP)
        process.communicate(timeout=300)
        assert process.returncode == (0 if prefix else 128 + signal.SIGHUP)
        assert (len(outputs(target)) == 400) == bool(prefix)


@pytest.mark.parametrize("where", ["closed", "/dev/full"])
def test_work_counts_as_done_even_if_nobody_hears_of_it(checkpoint, tmp_path, where):
    report = tmp_path / "report.json"
    words = command(make_folder(tmp_path / "in", 2), tmp_path / "out", "-c", checkpoint, "--report", report)
    reader, writer = os.pipe() if where == "closed" else (None, os.open(where, os.O_WRONLY))
    if reader is not None:
        os.close(reader)
    done = subprocess.run(words, cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, timeout=300)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(report.read_text())["state"] == "finished"


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_computed(checkpoint, tmp_path):
    """On a file system that really is read-only, where the tests may mount one."""
    source, target = make_folder(tmp_path / "in", 2), tmp_path / "mounted"
    target.mkdir()
    shell = ["unshare", "-Urm", "sh", "-c", 'mount -t tmpfs -o ro tmpfs "$0" && exec "$@"', str(target)]
    if subprocess.run([*shell, "true"], capture_output=True).returncode:
        pytest.skip("needs the right to mount a file system")
    words = command(source, target / "deep" / "out", "-c", tmp_path / "no checkpoint is looked for")
    done = subprocess.run([*shell, *words], capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert done.returncode == 1
    assert "mounted: can't be written; change its permissions or choose another output" in " ".join(
        done.stderr.split()
    )


def test_a_full_disk_ends_the_run_and_loses_nothing(checkpoint, tmp_path):
    """On a real, small file system, where the tests may mount one."""
    source, target = make_folder(tmp_path / "in", 60), tmp_path / "mounted"
    target.mkdir()
    script = 'mount -t tmpfs -o size=200k tmpfs "$1" && shift && "$@"; code=$?; ls -lRa "$0"; exit $code'
    shell = ["unshare", "-Urm", "sh", "-c", script, str(target), str(target)]
    if subprocess.run([*shell, "true"], capture_output=True).returncode:
        pytest.skip("needs the right to mount a file system")
    words = command(source, target / "out", "-c", checkpoint, "--report", tmp_path / "report.json")
    done = subprocess.run([*shell, *words], capture_output=True, text=True, cwd=ROOT, timeout=600)
    assert done.returncode == 1
    content = json.loads((tmp_path / "report.json").read_text())
    assert content["state"] == "disk full"
    assert content["counts"]["enhanced"] > 5
    assert content["counts"]["left"] > 20
    assert all("No space left" in f["error"] for f in content["files"] if f["status"] == "failed")
    assert done.stdout.count(".wav\n") == content["counts"]["enhanced"]  # in the listing: no partial file
    assert ".part" not in done.stdout
    assert "disk full; --resume continues" in done.stderr
    assert "Traceback" not in done.stderr
    assert "ignored" not in done.stderr


def test_processes_divide_a_folder_and_do_not_need_each_other(checkpoint, tmp_path):
    """Without a coordinator, and with the second killed, the first process completes its share."""
    source, target = make_folder(tmp_path / "in", 9), tmp_path / "out"

    def start(index: int) -> subprocess.Popen:
        environment = os.environ | {"JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": str(index)}
        words = command(source, target, "-c", checkpoint, "--resume", "--report", tmp_path / "report.json")
        return subprocess.Popen(words, cwd=ROOT, env=environment, stderr=subprocess.PIPE)

    first, second = start(0), start(1)
    second.kill()
    second.communicate()
    _, stderr = first.communicate(timeout=300)
    assert first.returncode == 0, stderr.decode()
    assert len(outputs(target)) >= 5
    second = start(1)
    _, stderr = second.communicate(timeout=300)
    assert second.returncode == 0, stderr.decode()
    counts = [json.loads((tmp_path / f"report-{i}.json").read_text())["counts"] for i in range(2)]
    assert [count["enhanced"] + count["kept"] for count in counts] == [5, 4]
    assert len(outputs(target)) == 9
