"""rosecd stream in real pipes: it flows, it waits, and ends as a filter should."""

import array
import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest

from rosecd_jax import load_checkpoint
from rosecd_jax.inference.streaming import StreamingEnhancer
from tests.commands import (
    CONFIG,
    LATENCY,
    ROOT,
    S16,
    SMALL,
    kept_programs,
    save_stream_student,
    stream_input,
    stream_output,
    wav,
)

pytestmark = pytest.mark.slow

# With the handler that Python has in a terminal, though whatever started the tests may ignore interrupts.
PROGRAM = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from rosecd_jax.cli import app
app(prog_name="rosecd")
"""
unbuffered_or_not = pytest.mark.parametrize("unbuffered", ["", "1"])


@pytest.fixture(scope="module", autouse=True)
def programs(tmp_path_factory):
    """The commands of this file share a cache of compiled programs."""
    with kept_programs(tmp_path_factory.mktemp("programs")):
        yield


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return save_stream_student(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def wave() -> np.ndarray:
    return stream_input()


@pytest.fixture(scope="module")
def expected(checkpoint, wave) -> np.ndarray:
    return stream_output(checkpoint, wave)


@contextlib.contextmanager
def process(
    *arguments: object, program: str = PROGRAM, unbuffered: str = "", stdout: int | BinaryIO = subprocess.PIPE
) -> Iterator[subprocess.Popen]:
    """rosecd stream with pipes at all three ends; killed at the end if it is still there."""
    words = [sys.executable, "-c", program, "stream", *map(str, arguments)]
    ends = {"stdin": subprocess.PIPE, "stdout": stdout, "stderr": subprocess.PIPE}
    with subprocess.Popen(
        words, cwd=ROOT, env=os.environ | {"PYTHONUNBUFFERED": unbuffered}, **ends
    ) as started:
        watch = threading.Timer(240, started.kill)
        watch.start()
        try:
            yield started
        finally:
            watch.cancel()
            started.kill()


def wait_until_full(pipe: subprocess.Popen) -> None:
    """Wait until the output, which isn't read, is full."""
    waiting, before = array.array("i", [0]), -1
    while pipe.poll() is None and (waiting[0] < 60_000 or waiting[0] != before):
        before = waiting[0]
        time.sleep(2)
        fcntl.ioctl(pipe.stdout, termios.FIONREAD, waiting)


def test_a_pipe_of_raw_samples_flows_before_its_input_ends(checkpoint, wave, expected):
    data = S16.encode(wave)
    with process("-c", checkpoint, "--encoding", "s16le", *SMALL) as pipe:
        pipe.stdin.write(data[:12_000])
        pipe.stdin.flush()
        steps = 6000 // 512
        ready = (steps - 1) * 512 + 512 - (LATENCY - 511) - 511  # latency after the last complete block
        first = pipe.stdout.read(2 * ready)
        pipe.stdin.write(data[12_000:])
        pipe.stdin.close()
        rest, words = pipe.stdout.read(), pipe.stderr.read().decode()
        assert pipe.wait() == 0
    assert first + rest == S16.encode(expected[None])
    assert "latency 63.9 ms (window 128 ms, hop 32 ms, look-ahead 16 ms)" in words
    assert "raw s16le, 1 channel(s) at 16000 Hz" in words
    assert "99th percentile" in words
    assert "under-runs (steps longer than the hop of 32 ms):" in words


def test_nobody_reading_on_ends_it_quietly(checkpoint):
    with process("-c", checkpoint, "--channels", 1, *SMALL) as pipe:
        pipe.stdout.close()
        with contextlib.suppress(BrokenPipeError):
            pipe.stdin.write(b"\1" * 200_000)
            pipe.stdin.close()
        words = pipe.stderr.read().decode()
        assert pipe.wait() == 141
    assert "Traceback" not in words
    assert "Exception ignored" not in words


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_input_and_what_was_read_is_written(checkpoint, wave, number):
    read = 7_000  # samples; all but the last `latency` of what was read are written at once
    stream = StreamingEnhancer(*load_checkpoint(checkpoint), config=CONFIG)
    expected = np.concatenate([stream.push(wave[0, :read]), stream.flush()])[stream.latency :]
    with process("-c", checkpoint, *SMALL) as pipe:
        pipe.stdin.write(wav(wave)[: 44 + 2 * read])
        pipe.stdin.flush()
        first = pipe.stdout.read(44 + 2 * (read - LATENCY))
        pipe.send_signal(number)
        rest, words = pipe.stdout.read(), pipe.stderr.read().decode()
        assert pipe.wait() == 128 + number
    assert (first + rest)[44:] == S16.encode(expected[None])
    assert "Traceback" not in words
    assert "steps: mean" in words


def test_a_second_signal_ends_it_at_once(checkpoint):
    with process("-c", checkpoint, "--rate", 16_000, *SMALL) as pipe:
        pipe.stdin.write(b"\1" * 100_000)
        pipe.stdin.flush()
        wait_until_full(pipe)
        pipe.send_signal(signal.SIGINT)
        time.sleep(0.5)
        assert pipe.poll() is None
        while pipe.poll() is None:
            pipe.send_signal(signal.SIGTERM)
            time.sleep(0.1)
        assert pipe.returncode == -signal.SIGTERM


def test_an_ignored_interrupt_stays_ignored(checkpoint, wave, expected):
    with process(
        "-c", checkpoint, *SMALL, program=PROGRAM.replace("signal.default_int_handler", "1")
    ) as pipe:
        pipe.stdin.write(wav(wave)[:12_000])
        pipe.stdin.flush()
        first = pipe.stdout.read(5_000)
        pipe.send_signal(signal.SIGINT)
        pipe.stdin.write(wav(wave)[12_000:])
        pipe.stdin.close()
        assert (first + pipe.stdout.read())[44:] == S16.encode(expected[None])
        assert pipe.wait() == 0


@unbuffered_or_not
def test_an_output_that_cannot_be_written_is_an_error_in_a_line(
    checkpoint, wave, expected, tmp_path, unbuffered
):
    limit = 19_000  # bytes: the last piece is written in part
    program = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))" + PROGRAM
    file = tmp_path / "output.wav"
    with (
        file.open("wb") as output,
        process("-c", checkpoint, *SMALL, program=program, unbuffered=unbuffered, stdout=output) as pipe,
    ):
        words = pipe.communicate(wav(wave))[1].decode()
    assert pipe.returncode == 1
    assert words.splitlines()[-1] == "rosecd: [Errno 27] File too large: 'standard output'"
    assert "Exception ignored" not in words
    assert file.read_bytes()[44:] == S16.encode(expected[None])[: limit - 44]


@unbuffered_or_not
def test_pipes_that_do_not_wait_are_made_to(checkpoint, unbuffered):
    program = "import os; os.set_blocking(0, False); os.set_blocking(1, False)" + PROGRAM
    data = S16.encode(np.random.default_rng(0).uniform(-0.3, 0.3, (1, 50_000)))
    with process("-c", checkpoint, "--rate", 16_000, *SMALL, program=program, unbuffered=unbuffered) as pipe:
        time.sleep(10)  # longer than it takes to begin: nothing is there to be read
        pipe.stdin.write(data[:98_000])
        pipe.stdin.flush()
        wait_until_full(pipe)
        pipe.stdin.write(data[98_000:])
        pipe.stdin.close()
        output = pipe.stdout.read()
        assert pipe.wait() == 0
    stream = StreamingEnhancer(*load_checkpoint(checkpoint), config=CONFIG)
    expected = np.concatenate([stream.push(S16.decode(data, 1)[0]), stream.flush()])[stream.latency :]
    assert output == S16.encode(expected[None])
