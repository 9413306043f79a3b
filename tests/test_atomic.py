"""rosecd_jax.atomic: files are complete or unchanged."""

import os
import signal
import subprocess
import sys

import pytest

from rosecd_jax.atomic import replacing_folder, write_text


def test_folders_are_made_and_what_is_there_is_replaced(tmp_path):
    for text in ("one\n", "two\r\nä\n"):
        write_text(tmp_path / "deep" / "a.txt", text)
        assert (tmp_path / "deep" / "a.txt").read_bytes() == text.encode()
    assert [file.name for file in (tmp_path / "deep").iterdir()] == ["a.txt"]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere file systems refuse such names")
def test_names_that_are_not_utf_8_are_written_as_their_bytes(tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9.csv")
    write_text(path, path.name)
    assert path.read_bytes() == b"caf\xe9.csv"


def test_a_failure_keeps_what_was_there_and_leaves_nothing_else(tmp_path):
    (tmp_path / "a.txt").write_text("before")
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "a.txt", "no text: \ud800")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        write_text(tmp_path / "folder", "after")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.txt", "folder"]
    assert (tmp_path / "a.txt").read_text() == "before"


def test_a_folder_replaces_a_folder_with_all_that_is_in_it(tmp_path):
    for name in ("one", "two"):
        with replacing_folder(tmp_path / "deep" / "[folder]") as temporary:
            temporary.mkdir()
            (temporary / name).touch()
    assert [file.name for file in tmp_path.rglob("*")] == ["deep", "[folder]", "two"]


def test_a_block_that_fails_keeps_the_folder_and_leaves_nothing_else(tmp_path):
    folder = tmp_path / ("[folder]" + "x" * 240)  # the temporary name has to be shorter
    folder.mkdir()
    (folder / "before").touch()
    with pytest.raises(FileNotFoundError), replacing_folder(folder) as temporary:
        temporary.with_name(f"{temporary.name}.as-orbax-does").mkdir()
    assert list(tmp_path.iterdir()) == [folder]
    assert [file.name for file in folder.iterdir()] == ["before"]


KILLED = """
import os, signal
from rosecd_jax.atomic import replacing_folder
with replacing_folder("folder") as temporary:
    temporary.mkdir()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_process_leaves_the_old_folder(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "before").touch()
    done = subprocess.run([sys.executable, "-c", KILLED], cwd=tmp_path, check=False)
    assert done.returncode == -signal.SIGKILL
    assert [file.name for file in (tmp_path / "folder").iterdir()] == ["before"]
