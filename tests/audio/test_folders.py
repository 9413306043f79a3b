"""rosecd_jax.audio.folders: what is found in a folder, and what is said of the rest."""

import os
from pathlib import Path

import pytest

from rosecd_jax.audio import io
from tests.helpers import run_without_privilege


def test_find(tmp_path):
    for name in ("b.WAV", "a.flac", "deep/er/c.mp3", ".hidden.wav", ".folder/d.wav", "~e.wav", "notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.wav").mkdir()
    assert io.find(tmp_path) == [tmp_path / name for name in ("a.flac", "b.WAV", "deep/er/c.mp3")]
    assert io.find(tmp_path / "notes.txt") == [tmp_path / "notes.txt"]
    assert io.find(tmp_path / ".folder") == [tmp_path / ".folder" / "d.wav"]
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "circle").symlink_to("circle")
    complaints = {"link": "is a broken link to nowhere", "circle": "is a broken link to circle"}
    complaints |= {"folder.wav": "no audio files", "nowhere": "no such file or folder"}
    for missing, complaint in complaints.items():
        with pytest.raises(io.AudioError, match=complaint):
            io.find(tmp_path / missing)


def test_find_follows_links_but_not_in_circles(tmp_path):
    for file in ("in/a.wav", "elsewhere/b.wav"):
        (tmp_path / file).parent.mkdir()
        (tmp_path / file).touch()
    (tmp_path / "in" / "one").symlink_to("../elsewhere")
    (tmp_path / "in" / "two").symlink_to("../elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to("../in")
    (tmp_path / "in" / "self").symlink_to(".")
    found = [str(file.relative_to(tmp_path / "in")) for file in io.find(tmp_path / "in")]
    assert found == ["a.wav", "one/b.wav", "two/b.wav"]


def test_other_kinds_of_sound_are_told(tmp_path):
    for name in ("b.m4a", "a.MP4", ".hidden.m4a", ".folder/c.m4a", "notes.txt", "table.csv", "image.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(io.AudioError, match=r"no audio files in this folder but \.m4a \.mp4; known"):
        io.look(tmp_path)
    (tmp_path / "a.wav").touch()
    assert io.look(tmp_path) == ([tmp_path / "a.wav"], [tmp_path / "a.MP4", tmp_path / "b.m4a"], [])


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions of POSIX")
def test_a_folder_that_cannot_be_read_is_told_unless_it_is_hidden(tmp_path):
    for name in ("a.wav", "closed/b.wav", ".Trash-1000/c.wav", "~old/d.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    for name in ("closed", ".Trash-1000", "~old"):
        (tmp_path / name).chmod(0)
    try:
        looked = run_without_privilege("print(io.look(sys.argv[1])[::2])", tmp_path)
        complaint = f"{tmp_path}/closed: cannot be read (Permission denied); change its permissions"
        assert looked.strip() == str(([tmp_path / "a.wav"], [complaint]))
        for code in ("io.find(sys.argv[1])", "io.look(sys.argv[1] + '/closed')"):
            code = f"\ntry: {code}\nexcept io.AudioError as error: print(error)"
            assert run_without_privilege(code, tmp_path).strip() == complaint
    finally:
        for name in ("closed", ".Trash-1000", "~old"):
            (tmp_path / name).chmod(0o700)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions of POSIX")
@pytest.mark.parametrize("name", ["closed.wav", "closed/a.wav"])
def test_a_file_that_cannot_be_read_is_told_as_such(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    io.write(tmp_path / name, [0.0], 16000)
    closed = tmp_path / Path(name).parts[0]
    closed.chmod(0)
    try:
        code = (
            "\nfor look in (io.read, io.info):\n try: look(sys.argv[1])\n except io.AudioError as e: print(e)"
        )
        complaint = f"{tmp_path / name}: cannot be read (Permission denied); change its permissions\n"
        assert run_without_privilege(code, tmp_path / name) == 2 * complaint
    finally:
        closed.chmod(0o700)
