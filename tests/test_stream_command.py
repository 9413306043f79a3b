"""rosecd stream in a pipe: real processes where it is about the pipe, else the command in this process."""

import contextlib
import io
import os
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import pytest
import soundfile
from jax.experimental.compilation_cache import compilation_cache
from typer.testing import CliRunner

from rosecd_jax import load_checkpoint, save_checkpoint
from rosecd_jax.audio.pcm import ENCODINGS
from rosecd_jax.cli import app
from rosecd_jax.cli.stream import refuse_terminals
from rosecd_jax.diffusion import Preconditioning
from rosecd_jax.inference.stream_step import StreamConfig
from rosecd_jax.inference.streaming import StreamingEnhancer
from rosecd_jax.models import ModelConfig, NCSNppConfig, ScoreModel

ROOT = Path(__file__).parents[1]
SMALL = ("--window-ms", "128", "--hop-ms", "32", "--look-ahead-ms", "16")
CONFIG = StreamConfig(window=16, hop=4, look_ahead=2)
LATENCY = (4 + 2 + 1 + 1) * 128 - 1
S16 = ENCODINGS["s16le"]
# With the handler that Python has in a terminal, though whatever started the tests may ignore interrupts.
PROGRAM = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from rosecd_jax.cli import app
app(prog_name="rosecd")
"""


@pytest.fixture(scope="module", autouse=True)
def programs(tmp_path_factory) -> Iterator[None]:
    """Programs compiled once are kept for all the commands of this file, here and in other processes."""
    folder = str(tmp_path_factory.mktemp("programs"))
    cache = {"jax_compilation_cache_dir": folder, "jax_persistent_cache_min_compile_time_secs": 0.0}
    before = {name: getattr(jax.config, name) for name in cache}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in cache.items():
            patch.setenv(name.upper(), str(value))
            jax.config.update(name, value)
        compilation_cache.reset_cache()
        yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    model = ScoreModel(
        ModelConfig(
            role="student",
            preconditioning=Preconditioning(c_in="1"),
            network=NCSNppConfig(channels=4, multipliers=(1, 1), blocks=1, attention_heights=()),
        )
    )
    return save_checkpoint(tmp_path_factory.mktemp("model") / "tiny", model, model.init(jax.random.key(0)))


@pytest.fixture(scope="module")
def wave() -> np.ndarray:
    return S16.decode(S16.encode(np.random.default_rng(0).uniform(-0.3, 0.3, (1, 10_000))), 1)


@pytest.fixture(scope="module")
def expected(checkpoint, wave) -> np.ndarray:
    """What the library gives, in line with the input."""
    stream = StreamingEnhancer(*load_checkpoint(checkpoint), config=CONFIG)
    return np.concatenate([stream.push(wave)[0], stream.flush()])[stream.latency :]


@contextlib.contextmanager
def process(*arguments: object) -> Iterator[subprocess.Popen]:
    """rosecd stream with pipes at all three ends; killed at the end if it is still there."""
    words = [sys.executable, "-c", PROGRAM, "stream", *map(str, arguments)]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(words, cwd=ROOT, **pipes) as started:
        watch = threading.Timer(240, started.kill)
        watch.start()
        try:
            yield started
        finally:
            watch.cancel()
            started.kill()


def in_this_process(checkpoint: Path, data: bytes, *arguments: object):
    """The command's result, with bytes as its input."""
    return CliRunner().invoke(app, ["stream", "-c", str(checkpoint), *map(str, arguments)], input=data)


def wav(wave: np.ndarray, rate: int = 16_000, subtype: str = "PCM_16", format: str = "WAV") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, wave.T, rate, subtype, format=format)
    return file.getvalue()


def test_a_pipe_of_raw_samples_flows_before_its_input_ends(checkpoint, wave, expected):
    data = S16.encode(wave)
    with process("-c", checkpoint, *SMALL) as pipe:
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
    with process("-c", checkpoint, *SMALL) as pipe:
        pipe.stdout.close()
        with contextlib.suppress(BrokenPipeError):
            pipe.stdin.write(b"\1" * 200_000)
            pipe.stdin.close()
        words = pipe.stderr.read().decode()
        assert pipe.wait() == 141
    assert "Traceback" not in words
    assert "Exception ignored" not in words


def test_an_interrupt_ends_it_quietly(checkpoint):
    with process("-c", checkpoint, *SMALL) as pipe:
        pipe.stdin.write(b"\1" * 20_000)
        pipe.stdin.flush()
        assert pipe.stdout.read(10_000)
        pipe.send_signal(signal.SIGINT)
        words = pipe.stderr.read().decode()
        assert pipe.wait() == 130
    assert "Traceback" not in words
    assert "steps: mean" in words


def test_a_terminal_is_refused(checkpoint):
    ours, theirs = os.openpty()
    words = [sys.executable, "-m", "rosecd_jax.cli", "stream", "-c", str(checkpoint)]
    done = subprocess.run(words, stdin=theirs, capture_output=True, cwd=ROOT, timeout=240)
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 1
    assert "standard input is a terminal; pipe audio into it" in done.stderr.decode()


def test_a_closed_input_is_refused(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(ValueError, match="standard input is closed; pipe audio into it"):
        refuse_terminals()


@pytest.mark.parametrize("format", ["WAV", "WAVEX"])
def test_wav_in_is_wav_out(checkpoint, wave, expected, format):
    done = in_this_process(checkpoint, wav(wave, format=format), *SMALL)
    assert done.exit_code == 0, done.stderr
    samples, rate = soundfile.read(io.BytesIO(done.stdout_bytes), dtype="float32")
    assert rate == 16_000
    assert S16.encode(samples[None]) == S16.encode(expected[None])
    assert "WAV s16le" in done.stderr


def test_ffmpegs_header_of_open_length_and_chunks_behind_the_samples(checkpoint, wave, expected):
    data = wav(wave)
    title = b"LIST" + struct.pack("<I", 5) + b"title\0"
    place = data.index(b"data")
    open_length = b"RIFF" + b"\xff" * 4 + data[8:place] + title + b"data" + b"\xff" * 4 + data[place + 8 :]
    done = in_this_process(checkpoint, open_length, *SMALL)
    assert done.exit_code == 0, done.stderr
    assert done.stdout_bytes[:8] == b"RIFF" + b"\xff" * 4
    assert done.stdout_bytes[44:] == S16.encode(expected[None])
    behind = in_this_process(checkpoint, data + title, *SMALL)
    assert behind.stdout_bytes[44:] == S16.encode(expected[None])


@pytest.mark.parametrize("encoding", ["u8", "s24le", "s32le", "f32le", "f64le"])
def test_raw_encodings(checkpoint, wave, expected, encoding):
    code = ENCODINGS[encoding]
    done = in_this_process(checkpoint, code.encode(wave), *SMALL, "--encoding", encoding)
    assert done.exit_code == 0, done.stderr
    output = code.decode(done.stdout_bytes, 1)[0]
    assert output.shape == expected.shape
    if encoding != "u8":  # which changes the input by more than the output may differ
        np.testing.assert_allclose(output, expected, atol=2.0**-22)


def test_two_channels_at_another_rate_keep_place_and_count(checkpoint):
    seconds = np.arange(44_100) / 44_100
    sines = [np.sin(2 * np.pi * f * seconds) * np.sin(np.pi * seconds) ** 2 for f in (300, 500)]
    data = wav(0.5 * np.stack(sines), 44_100, "FLOAT")
    done = in_this_process(checkpoint, data, *SMALL)
    assert done.exit_code == 0, done.stderr
    samples, rate = soundfile.read(io.BytesIO(done.stdout_bytes), dtype="float32")
    assert rate == 44_100
    assert samples.shape == (44_100, 2)
    stream = StreamingEnhancer(*load_checkpoint(checkpoint), config=CONFIG, channels=2, sample_rate=44_100)
    source = soundfile.read(io.BytesIO(data), dtype="float32")[0].T
    output = np.concatenate([stream.push(source), stream.flush()], axis=-1)[:, stream.latency :]
    np.testing.assert_array_equal(samples.T, output)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5])
def test_the_shortest_inputs(checkpoint, count):
    done = in_this_process(checkpoint, b"\1" * count, *SMALL)
    assert done.exit_code == 0, done.stderr
    assert len(done.stdout_bytes) == count - count % 2
    assert ("its last 1 bytes are left out" in done.stderr) == bool(count % 2)


@pytest.mark.parametrize(
    ("arguments", "start", "words"),
    [
        (("--encoding", "mp3"), b"", "--encoding mp3: expected one of u8, s16le"),
        (("--channels", "0"), b"", "--channels 0"),
        (("--rate", "7"), b"", "sample rate of 7 Hz"),
        (("--weights", "best"), b"", "weights='best': expected one of"),
        (("--hop-ms", "900"), b"", "widen it"),
        (("--sampler", "bridge"), b"", "doesn't go with this model"),
        (("--rate", "48000"), b"wav", "--rate 48000: the input is WAV, and its header says 16000"),
        ((), b"RIFF1234WAVEfmt ", "ends inside of the WAV header"),
        (("--encoding", "f32le", *SMALL), struct.pack("<f", float("nan")), "NaN"),
    ],
)
def test_what_makes_no_sense_is_told_in_a_line(checkpoint, wave, arguments, start, words):
    done = in_this_process(checkpoint, wav(wave) if start == b"wav" else start, *arguments)
    assert done.exit_code == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_no_checkpoint():
    done = in_this_process(Path("nowhere"), b"")
    assert done.exit_code == 1
    assert "nowhere" in done.stderr
