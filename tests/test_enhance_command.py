"""rosecd enhance as users meet it: bad inputs, bad commands, the cache. See also test_enhance_ends.py."""

import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from rosecd_jax.audio import io
from rosecd_jax.cli import app
from tests.commands import kept_programs, run, save_student, tone

GOOD = ("enhanced", "")


@pytest.fixture(scope="module", autouse=True)
def programs(tmp_path_factory):
    """The commands of this file share a cache of compiled programs."""
    with kept_programs(tmp_path_factory.mktemp("programs")):
        yield


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return save_student(tmp_path_factory.mktemp("model"))


# Bad files ----------------------------------------


def header(tag: int = 1, channels: int = 1, rate: int = 16_000, bits: int = 16, data: bytes = b"") -> bytes:
    """A WAV file as its header says."""
    block = channels * bits // 8
    fields = struct.pack("<HHIIHH", tag, channels, rate, rate * block, block, bits)
    chunks = b"fmt " + struct.pack("<I", len(fields)) + fields + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def raw(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def sound(wave: np.ndarray, rate: int = 16_000, subtype: str | None = None) -> Callable[[Path], object]:
    return lambda path: soundfile.write(path, wave.T, rate, subtype)


def cut(name: str, size: int) -> Callable[[Path], object]:
    def make(path: Path) -> None:
        whole = path.with_name(f".{path.stem}.whole.{name.rpartition('.')[2]}")
        soundfile.write(whole, np.random.default_rng(0).uniform(-0.5, 0.5, 48_000), 48_000)
        path.write_bytes(whole.read_bytes()[:size])
        whole.unlink()

    return make


def bound_socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # a socket's name has at most a hundred characters
    socket.socket(socket.AF_UNIX).bind(path.name)
    os.chdir(here)


FLAC = b"fLaC" + bytes(100)
UNREADABLE, EMPTY, NOWHERE = "cannot be read as audio", "is empty, it holds no", "broken link"
IRREGULAR = "is not a regular file"
FILES: dict[str, tuple[Callable[[Path], object], tuple[str, str]]] = {
    # name: (how it is made, (what becomes of it, words of its error))
    "empty.wav": (raw(b""), ("failed", EMPTY)),
    "empty.flac": (raw(b""), ("failed", EMPTY)),
    "text.wav": (raw(b"this is a letter " * 99), ("failed", UNREADABLE)),
    "html.mp3": (raw(b"<html><body>404 Not Found</body></html>" * 50), ("failed", UNREADABLE)),
    "zip.wav": (raw(b"PK\x03\x04" + bytes(200)), ("failed", UNREADABLE)),
    "png.flac": (raw(b"\x89PNG\r\n\x1a\n" + bytes(200)), ("failed", UNREADABLE)),
    "zeros.ogg": (raw(bytes(5000)), ("failed", UNREADABLE)),
    "no samples.wav": (raw(header()), ("failed", EMPTY)),
    "half a header.wav": (raw(header()[:20]), ("failed", UNREADABLE)),
    "no rate.wav": (raw(header(rate=0, data=bytes(100))), ("failed", UNREADABLE)),
    "no channels.wav": (raw(header(channels=0, data=bytes(100))), ("failed", UNREADABLE)),
    "unknown codec.wav": (raw(header(tag=0x1234, data=bytes(100))), ("failed", UNREADABLE)),
    "7 bits.wav": (raw(header(bits=70, data=bytes(700))), ("failed", UNREADABLE)),
    "no frames.flac": (raw(FLAC), ("failed", UNREADABLE)),
    "cut.flac": (cut("a.flac", 9000), ("failed", UNREADABLE)),
    "cut.wav": (cut("a.wav", 30_001), ("failed", "is cut short")),
    "not a number.wav": (sound(np.float32([0, np.nan, 0]), subtype="FLOAT"), ("failed", "NaN")),
    "infinite.wav": (sound(np.float32([0, np.inf, 0]), subtype="FLOAT"), ("failed", "infinite")),
    "link.wav": (lambda path: path.symlink_to("nowhere.wav"), ("failed", NOWHERE)),
    "circle.wav": (lambda path: path.symlink_to(path.name), ("failed", "is a broken link to circle.wav")),
    "pipe.wav": (lambda path: os.mkfifo(path), ("failed", IRREGULAR)),
    "socket.wav": (bound_socket, ("failed", IRREGULAR)),
    "folder.wav": (lambda path: path.mkdir(), ("not taken", "")),
    ".hidden.wav": (sound(tone()), ("not taken", "")),
    "~temporary.wav": (sound(tone()), ("not taken", "")),
    "notes.txt": (raw(b"not audio"), ("not taken", "")),
    "no suffix": (raw(header(data=bytes(100))), ("not taken", "")),
    # Odd, but audio.
    "longer than its header says.wav": (raw(header(data=bytes(1000)) + bytes(5000)), GOOD),
    "one sample.wav": (sound(tone(1) + 0.1), GOOD),
    "two samples.wav": (sound(tone(2)), GOOD),
    "silence.wav": (sound(np.zeros(5000, np.float32)), GOOD),
    "constant.wav": (sound(np.full(5000, 0.5, np.float32)), GOOD),
    "overdriven.wav": (sound(tone(amplitude=50.0), subtype="FLOAT"), GOOD),
    "almost nothing.wav": (sound(tone(amplitude=1e-40), subtype="FLOAT"), GOOD),
    "enormous.wav": (sound(tone(amplitude=1e30), subtype="FLOAT"), GOOD),
    "one click.wav": (sound(np.eye(1, 5000, 2500, dtype=np.float32)[0]), GOOD),
    "8 bits.wav": (sound(tone(), subtype="PCM_U8"), GOOD),
    "64 bits.wav": (sound(tone(), subtype="DOUBLE"), GOOD),
    "adpcm.wav": (sound(tone(), subtype="IMA_ADPCM"), GOOD),
    "telephone.wav": (sound(tone(), 8000, "ULAW"), GOOD),
    "32 channels.wav": (sound(np.stack([tone(900)] * 32)), GOOD),
    "8 channels.flac": (sound(np.stack([tone(900)] * 8)), GOOD),
    "one hertz.wav": (sound(tone(3), 1), ("failed", "says 1 Hz, expected 1000 to 768000")),
    "one kilohertz.wav": (sound(tone(30), 1000), GOOD),
    "384 kHz.wav": (sound(tone(), 384_000), GOOD),
    "SHOUTED.WAV": (sound(tone()), GOOD),
    "short.mp3": (sound(tone(100), 44_100), GOOD),
    "music.ogg": (sound(np.stack([tone(), tone()]), 44_100), GOOD),
    "-c.wav": (sound(tone()), GOOD),
    'quote\'s "and" ünï©ode 中.wav': (sound(tone()), GOOD),
    "line\nbreak.wav": (sound(tone()), GOOD),
    "percent %s {} [red].wav": (sound(tone()), GOOD),
    f"{'very ' * 48}long.wav": (sound(tone()), GOOD),
    "trailing space .wav": (sound(tone()), GOOD),
    "a/b/c/d/e/f/deep.wav": (sound(tone()), GOOD),
}


@pytest.mark.slow
def test_one_folder_of_every_kind_of_bad_file(checkpoint, tmp_path):
    source, target = tmp_path / "in", tmp_path / "out"
    for name, (make, _) in FILES.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        make(source / name)
    done = run(source, target, "-c", checkpoint, "--report", tmp_path / "report.json")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    found = {
        str(Path(file["source"]).relative_to(source)): (file["status"], file["error"])
        for file in report["files"]
    }
    for name, (_, (status, words)) in FILES.items():
        assert found.get(name, ("not taken", ""))[0] == status, f"{name}: {found.get(name)}"
        error = found.get(name, ("", ""))[1]
        assert words in error
        if status == "failed":
            assert error.startswith(str(source / name))
            assert error in done.stderr
        if status == "enhanced":
            before, after = io.info(source / name), io.info(target / name)
            assert after[:2] + after[3:5] == before[:2] + before[3:5]
            if name != "adpcm.wav":  # whole blocks
                assert after.samples == before.samples
    written = {str(file.relative_to(target)) for file in target.rglob("*") if not file.is_dir()}
    assert written == {name for name, (_, outcome) in FILES.items() if outcome == GOOD}
    assert not io.read(target / "silence.wav").wave.any()


# Bad commands ----------------------------------------

COMMANDS: dict[str, tuple[list[str], str]] = {
    # what is wrong: (the words of the command, those of the error)
    "no such input": (["gone.wav", "out.wav"], "gone.wav: no such file or folder"),
    "no audio in it": (["empty", "out"], "no audio files in this folder"),
    "only hidden audio": (["hidden", "out"], "no audio files in this folder"),
    "a broken file": (["broken.wav", "out.wav"], "cannot be read as audio"),
    "a folder into a file": (["in", "a.wav"], "a folder's output needs a folder"),
    "into itself": (["in", "in"], "is the input itself"),
    "a file into itself": (["a.wav", "a.wav"], "is the input itself"),
    "into itself by a link": (["a.wav", "link.wav"], "is the input itself"),
    "into itself by a folder": (["in/a.wav", "in"], "is the input itself"),
    "output of no known format": (["a.wav", "out.xyz"], "out.xyz: unknown format xyz"),
    "a file that exists": (["a.wav", "b.wav"], "b.wav exists; pass --overwrite"),
    "files that exist": (["in", "done"], "1 of 1 outputs exist already"),
    "below a file": (["a.wav", "b.wav/out.wav"], "cannot be written"),
    "both ways with what exists": (["in", "done", "--resume", "--overwrite"], "give one of them"),
    "unknown format": (["in", "out", "--format", "banana"], "unknown format banana"),
    "unknown subtype": (
        ["in", "out", "--format", "wav", "--subtype", "PCM_12"],
        ".wav has no subtype PCM_12; use one of ",
    ),
    "subtype of another suffix": (["a.wav", "o.mp3", "--subtype", "FLOAT"], "use one of MPEG_LAYER_III"),
    "more steps than there are": (["in", "out", "--steps", "1000000000"], "expected at most 1000"),
    "subtype of another format": (["in", "out", "--subtype", "VORBIS"], "doesn't support subtype VORBIS"),
    "format of another suffix": (["a.wav", "out.wav", "--format", "flac"], "the suffix is not that of flac"),
    "no checkpoint": (["in", "out", "-c", "gone"], "gone"),
    "a checkpoint of text": (["in", "out", "-c", "text.ckpt"], "text.ckpt"),
    "a folder that is no checkpoint": (["in", "out", "-c", "in"], "in"),
    "a bridge's sampler": (["in", "out", "--sampler", "bridge"], "doesn't go with this model's process"),
    "no limit": (["in", "out", "--limit", "0"], "limit is 0.0"),
    "a limit that is no number": (["in", "out", "--limit", "nan"], "limit is nan"),
    "a report below a file": (["in", "out", "--report", "a.wav/report.json"], "a.wav"),
    "a report that is a folder": (["in", "out", "--report", "empty"], "empty: is not a report"),
    "a report in place of a recording": (["a.wav", "c.wav", "--report", "a.wav"], "a.wav: is not a report"),
    "a report in place of an output": (["a.wav", "c.wav", "--report", "c.wav"], "c.wav: is not a report"),
    "a report in place of a text": (["in", "out", "--report", "text.ckpt"], "text.ckpt: is not a report"),
    "a report on standard output": (["in", "out", "--report", "-"], "rosecd stream"),
    "a report into a pipe": (["in", "out", "--report", "pipe"], "pipe: is not a report"),
    "a file without a suffix": (["without", "out"], "without: a suffix is missing"),
    "no input, and an output that is a file": (["nope", "b.wav"], "nope: no such file or folder"),
    "standard output": (["a.wav", "-"], "rosecd stream"),
    "fewer than no frames at once": (["in", "out", "--batch-frames", "-1"], "batch_frames is -1"),
}
assert len(FILES) + len(COMMANDS) >= 60


@pytest.mark.parametrize("name", COMMANDS)
def test_a_bad_command_says_why_in_one_line_and_touches_nothing(checkpoint, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    for path in ("a.wav", "b.wav", "in/a.wav", "done/a.wav", "hidden/.a.wav"):
        io.write(path, tone(500), 16_000)
    Path("empty").mkdir()
    Path("broken.wav").write_bytes(b"RIFF....")
    Path("text.ckpt").write_text("weights")
    Path("link.wav").symlink_to("a.wav")
    Path("without").write_bytes(Path("a.wav").read_bytes())
    os.mkfifo("pipe")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    words, error = COMMANDS[name]
    words = words if "-c" in words else [*words, "-c", str(checkpoint)]
    result = CliRunner().invoke(app, ["enhance", *words])
    assert result.exit_code == 1, result.output
    assert error in result.stderr
    assert result.stderr.count("rosecd: ") == 1
    assert "Traceback" not in result.output
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_report_tells_that_the_model_could_not_be_loaded(tmp_path):
    io.write(tmp_path / "a.wav", tone(500), 16_000)
    words = (
        tmp_path / "a.wav",
        tmp_path / "b.wav",
        "-c",
        tmp_path / "gone",
        "--report",
        tmp_path / "report.json",
    )
    assert run(*words).returncode == 1
    assert json.loads((tmp_path / "report.json").read_text())["state"] == "ended by CheckpointError"


# The cache of compiled programs ----------------------------------------

START = """
import sys, jax, rosecd_jax
from rosecd_jax.processes import keep_compiled_programs
events = []
jax.monitoring.register_event_listener(lambda name, **_: events.append(name))
if sys.argv[1:]:
    rosecd_jax.Enhancer.from_checkpoint(sys.argv[1]).prepare(16000, 16000)
else:
    keep_compiled_programs()
print(jax.config.jax_compilation_cache_dir, events.count("/jax/compilation_cache/cache_hits"))
"""


@pytest.mark.slow
def test_a_second_process_starts_from_the_cache(checkpoint, tmp_path):
    unset = ("JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE")
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    environment |= {"XDG_CACHE_HOME": str(tmp_path), "HOME": str(tmp_path)}

    def start(*words: object, **more: str) -> list[str]:
        command = [sys.executable, "-c", START, *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment | more, check=True)
        return done.stdout.split()

    first, second = start(checkpoint), start(checkpoint)
    assert Path(first[0]).is_relative_to(tmp_path)
    assert second[0] == first[0]
    assert int(second[1]) > int(first[1])
    assert start(JAX_COMPILATION_CACHE_DIR=str(tmp_path / "mine"))[0] == str(tmp_path / "mine")
    assert start(JAX_ENABLE_COMPILATION_CACHE="false")[0] == "None"
    (tmp_path / "file").touch()
    assert start(XDG_CACHE_HOME=str(tmp_path / "file"))[0] == "None"
