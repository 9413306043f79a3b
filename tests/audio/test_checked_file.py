"""rosecd_jax.audio.writer: a full disk, which libsndfile doesn't report."""

import errno
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rosecd_jax.audio.writer import CheckedFile

WRITE = """
import sys, numpy; from rosecd_jax.audio import io
try: io.write(sys.argv[1], numpy.random.default_rng(0).normal(0, .1, (2, 900_000)), 48000)
except io.AudioError as error: print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs a full device")
def test_no_call_of_libsndfile_raises_and_the_failure_is_remembered():
    file = CheckedFile(Path("/dev/full"))
    assert file.write(b"some") == 4
    for position in (file.seek(0), file.seek(0, 2), file.tell()):
        assert isinstance(position, int)
    assert file.read(9) == b""
    with pytest.raises(OSError, match="No space") as error:
        file.close()
    assert error.value.errno == errno.ENOSPC


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs a disk of its own")
@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".caf", ".w64", ".au"])
def test_a_full_disk_is_one_error_and_no_traceback(tmp_path, suffix):
    script = 'mount -t tmpfs -o size=100k tmpfs "$0" && shift 0 && "$@" && ls -A "$0"'
    python = (sys.executable, "-c", WRITE, tmp_path / f"a{suffix}")
    command = ["unshare", "-Urm", "sh", "-c", script, tmp_path, *python]
    if subprocess.run([*command[:5], tmp_path, "true"], capture_output=True).returncode:
        pytest.skip("needs the right to mount")
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1  # no file is left
    assert "No space left on device" in done.stdout
