"""Recordings that several test files make data sets of."""

from pathlib import Path

import pytest

from tests.data.recordings import write_pair, write_voicebank


@pytest.fixture(scope="session")
def voicebank(tmp_path_factory) -> tuple[Path, dict[str, list[str]]]:
    """A tiny VoiceBank-DEMAND at 48 kHz, unpacked, and the names of its splits."""
    folder = tmp_path_factory.mktemp("voicebank")
    return folder, write_voicebank(folder)


@pytest.fixture
def tree(tmp_path) -> Path:
    """Two splits; wav, flac and subfolders, one sample and 20 000."""
    for number, name in enumerate(("b.wav", "deep/er/a.wav", "é ü 語.wav", "c.flac")):
        write_pair(tmp_path / "source" / "train", name, 20_000 - 100 * number)
    write_pair(tmp_path / "source" / "train", "float.wav", 300, subtype="FLOAT")
    write_pair(tmp_path / "source" / "my-test_2", "one.wav", 1)
    return tmp_path / "source"
