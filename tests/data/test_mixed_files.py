"""rosecd_jax.data.mixed_files: a replay of recordings that have changed, and of manifests of before."""

import csv

import numpy as np
import pytest
from typer.testing import CliRunner

from rosecd_jax.audio import io
from rosecd_jax.cli import app
from rosecd_jax.data.mixed_files import DIGEST, MANIFEST, replay_mixes, write_mixes
from rosecd_jax.data.mixing import MixConfig, open_mixer
from rosecd_jax.data.pairs import DataError

RATE = 16_000
SIDES = {"speech": 0, "noise": 1, "rooms": 2}


def record(folder, side, seed):
    """Write the recording of a side; its length doesn't depend on the seed."""
    io.write(folder / side / "a.wav", 0.1 * np.random.default_rng(seed).normal(size=RATE), RATE)


@pytest.fixture
def mixes(tmp_path):
    """Mixes of one recording of speech, of noise and of a room."""
    for side, seed in SIDES.items():
        record(tmp_path, side, seed)
    config = MixConfig(babble=0.0, synthetic=0.0, without_noise=0.0, reverb=1.0)
    mixer = open_mixer(*(str(tmp_path / side) for side in SIDES), config, RATE)
    write_mixes(tmp_path / "mixes", mixer, seed=0, files=3, seconds=0.5)
    return tmp_path / "mixes"


@pytest.mark.parametrize("side", SIDES)
def test_a_recording_that_was_replaced_ends_a_replay(mixes, side):
    record(mixes.parent, side, seed=7)
    with pytest.raises(DataError, match=r"manifest\.csv: mix_00000\.wav is no longer the same pair"):
        replay_mixes(mixes.parent / "again", mixes / MANIFEST)
    assert not (mixes.parent / "again" / MANIFEST).exists()
    record(mixes.parent, side, SIDES[side])
    replay_mixes(mixes.parent / "again", mixes / MANIFEST)


def test_a_manifest_without_digests_is_replayed_with_a_note(mixes):
    digests, old = (mixes / MANIFEST).read_text(), mixes.parent / "old.csv"
    with open(mixes / MANIFEST, newline="") as table:
        rows = [{name: row[name] for name in row if name != DIGEST} for row in csv.DictReader(table)]
    with open(old, "w", newline="") as table:
        writer = csv.DictWriter(table, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    notes = []
    replay_mixes(mixes.parent / "one", mixes / MANIFEST, echo=notes.append)
    assert not notes
    replay_mixes(mixes.parent / "two", old, echo=notes.append)
    assert len(notes) == 1
    assert "old.csv: has no digests" in notes[0]
    assert (mixes.parent / "two" / MANIFEST).read_text() == digests


def test_a_replay_of_some_rows_in_another_order_keeps_their_names(mixes):
    with open(mixes / MANIFEST, newline="") as table:
        rows = list(csv.DictReader(table))
    with open(mixes.parent / "some.csv", "w", newline="") as table:
        writer = csv.DictWriter(table, list(rows[0]))
        writer.writeheader()
        writer.writerows([rows[2], rows[0]])
    replay_mixes(mixes.parent / "again", mixes.parent / "some.csv")
    for side in ("clean", "noisy"):
        files = sorted(path.name for path in (mixes.parent / "again" / side).iterdir())
        assert files == [rows[0]["file"], rows[2]["file"]]
        for name in files:
            assert (mixes.parent / "again" / side / name).read_bytes() == (mixes / side / name).read_bytes()


@pytest.mark.parametrize("name", ["../mix_00000.wav", "mix_00001.wav", "a.wav"])
def test_a_manifest_with_other_or_equal_names_is_refused(mixes, name):
    text = (mixes / MANIFEST).read_text().replace("mix_00000.wav", name)
    (mixes.parent / "other.csv").write_text(text)
    with pytest.raises(DataError, match="twice, or not the name of a mix"):
        replay_mixes(mixes.parent / "again", mixes.parent / "other.csv")


@pytest.mark.parametrize(
    "option", [("--files", "3"), ("--snr", "0", "0"), ("--speech", "x"), ("--seed", "0")]
)
def test_options_that_a_replay_would_not_use_are_refused(mixes, option):
    arguments = ["prepare", "mix", str(mixes.parent / "again"), "--replay", str(mixes / MANIFEST), *option]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1
    assert f"leave out {option[0]}" in done.output


@pytest.mark.parametrize("seconds", ["inf", "nan", "1e9", "0.01"])
def test_a_length_that_makes_no_sense_is_refused(mixes, seconds):
    out, speech = str(mixes.parent / "out"), str(mixes.parent / "speech")
    done = CliRunner().invoke(app, ["prepare", "mix", out, "--speech", speech, "--seconds", seconds])
    assert done.exit_code == 2
    assert "Invalid value for '--seconds': Input should be" in " ".join(done.output.split())
    assert not (mixes.parent / "out").exists()
