"""rosecd stream, in this process: formats in and out, and what it says of those that make no sense."""

import io
import os
import struct
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from rosecd_jax import load_checkpoint, save_checkpoint
from rosecd_jax.audio.pcm import ENCODINGS
from rosecd_jax.cli import app
from rosecd_jax.cli.pipes import refuse_terminals
from rosecd_jax.inference.streaming import StreamingEnhancer
from tests.commands import (
    CONFIG,
    ROOT,
    S16,
    SMALL,
    kept_programs,
    save_stream_student,
    stream_input,
    stream_output,
    wav,
)


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


def in_this_process(checkpoint: Path, data: bytes, *arguments: object):
    """The command's result, with bytes as its input."""
    return CliRunner().invoke(app, ["stream", "-c", str(checkpoint), *map(str, arguments)], input=data)


@pytest.mark.parametrize("bad", [0, 4_000, 9_999])
def test_samples_before_one_that_is_nan_are_written(checkpoint, wave, bad):
    code = ENCODINGS["f32le"]
    stream = StreamingEnhancer(*load_checkpoint(checkpoint), config=CONFIG)
    expected = np.concatenate([stream.push(wave[0, :bad]), stream.flush()])[stream.latency :]
    damaged = wave.copy()
    damaged[0, bad] = np.nan
    done = in_this_process(checkpoint, code.encode(damaged), *SMALL, "--encoding", "f32le")
    assert done.exit_code == 1
    assert f"the input's sample at {bad / 16_000:.3f} s is NaN" in done.stderr
    np.testing.assert_array_equal(code.decode(done.stdout_bytes, 1)[0], expected)


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (b"fLaC\0\0\0\x22", "FLAC"),
        (b"OggS\0\2\0\0", "Ogg"),
        (b"ID3\4\0\0\0\0", "MP3"),
        (b"\0\0\0\x20ftypisom", "MP4"),
        (b"\x1aE\xdf\xa3\1\0\0\0", "Matroska or WebM"),
    ],
)
@pytest.mark.parametrize("options", [(), ("--encoding", "s16le")])
def test_other_files_are_refused_by_name(checkpoint, start, name, options):
    done = in_this_process(checkpoint, start + b"\1" * 2000, *SMALL, *options)
    assert done.exit_code == 1
    assert not done.stdout_bytes
    assert f"the input is {name}, not WAV; make it plain WAV, as by ffmpeg" in done.stderr


def test_raw_samples_are_taken_only_if_an_option_declares_them(checkpoint, wave):
    done = in_this_process(checkpoint, S16.encode(wave), *SMALL)
    assert done.exit_code == 1
    assert not done.stdout_bytes
    assert "the input is not WAV" in done.stderr
    assert "--encoding s16le" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("samples", [999, 1000])
def test_the_length_in_the_header_is_that_of_the_output(checkpoint, samples):
    data = wav(np.full((1, samples), 0.25), subtype="PCM_U8")
    done = in_this_process(checkpoint, data, *SMALL)
    assert done.exit_code == 0, done.stderr
    assert struct.unpack("<I", done.stdout_bytes[4:8])[0] == len(done.stdout_bytes) - 8
    assert soundfile.info(io.BytesIO(done.stdout_bytes)).frames == samples


def test_an_input_shorter_than_its_header_says_is_told(checkpoint, wave):
    done = in_this_process(checkpoint, wav(wave)[:-100], *SMALL)
    assert done.exit_code == 0
    assert "the input ends 100 bytes before the length in its header" in done.stderr


def test_the_network_can_compute_in_bfloat16(checkpoint, wave):
    data = wav(wave, subtype="FLOAT")
    options = [(), ("--dtype", "float32"), ("--dtype", "bfloat16")]
    as_trained, full, half = (in_this_process(checkpoint, data, *SMALL, *o).stdout_bytes for o in options)
    assert len(half) == len(full)
    assert half != full == as_trained


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


def test_a_wav_without_samples_is_told_and_makes_no_output(checkpoint):
    empty = wav(np.zeros((1, 0)))
    chunk = b"LIST" + struct.pack("<I", 4000) + b"\1" * 4000
    tagged = empty[:4] + struct.pack("<I", len(empty + chunk) - 8) + empty[8:] + chunk
    for data in (empty, tagged):
        done = in_this_process(checkpoint, data, *SMALL)
        assert done.exit_code == 1
        assert "no samples on standard input; the source may be empty, or" in done.stderr
        assert not done.stdout_bytes


@pytest.mark.parametrize("encoding", ["u8", "s24le", "s32le", "f32le", "f64le"])
def test_raw_encodings(checkpoint, wave, expected, encoding):
    code = ENCODINGS[encoding]
    done = in_this_process(checkpoint, code.encode(wave), *SMALL, "--encoding", encoding)
    assert done.exit_code == 0, done.stderr
    output = code.decode(done.stdout_bytes, 1)[0]
    assert output.shape == expected.shape
    if encoding != "u8":  # which changes the input by more than the output may differ
        np.testing.assert_allclose(output, expected, atol=2.0**-22)


def test_clipped_samples_are_counted(checkpoint, wave, tmp_path):
    model, params = load_checkpoint(checkpoint)
    loud = save_checkpoint(tmp_path / "loud", model, jax.tree.map(lambda leaf: 300 * leaf, params))
    data = ENCODINGS["s16le"].encode(wave)
    done = in_this_process(loud, data, *SMALL, "--encoding", "s16le")
    samples = ENCODINGS["s16le"].decode(done.stdout_bytes, 1)
    count = int(np.sum((samples == -1) | (samples == 1 - 2.0**-15)))
    assert count
    assert f"{count} samples were clipped to full scale" in done.stderr
    assert "clipped" not in in_this_process(checkpoint, data, *SMALL, "--encoding", "s16le").stderr


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


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5, 8, 9])
def test_the_shortest_inputs(checkpoint, count):
    done = in_this_process(checkpoint, b"\1" * count, *SMALL, "--encoding", "s16le")
    assert done.exit_code == int(count < 2), done.stderr
    assert ("no samples on standard input; the source may be empty" in done.stderr) == (count < 2)
    assert len(done.stdout_bytes) == count - count % 2
    assert ("its last 1 bytes are left out" in done.stderr) == bool(count % 2)


@pytest.mark.parametrize(
    ("arguments", "start", "words"),
    [
        ((), b"", "no samples on standard input"),
        ((), wav(np.zeros((1, 0))), "no samples on standard input"),
        (("--channels", "0"), b"1234", "--channels 0"),
        (("--rate", "7"), b"1234", "sample rate of 7 Hz"),
        (("--hop-ms", "900"), b"", "968 ms, the window only 512 ms: widen it"),
        (("--hop-ms", "0"), b"", "hop is 0 ms"),
        (("--sampler", "bridge"), b"", "doesn't go with this model"),
        (("--rate", "48000"), b"wav", "--rate 48000: the input is WAV, and its header says 16000"),
        ((), b"RIFF1234WAVEfmt ", "ends within the WAV header"),
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
