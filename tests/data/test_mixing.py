"""rosecd_jax.data.mixing: draws and mixes; their tables; the recordings that they are made of."""

import dataclasses
import math
import os
import random
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rosecd_jax.audio import io
from rosecd_jax.audio.level import Level
from rosecd_jax.audio.mixing import limit_band, reverberate, tilt
from rosecd_jax.data.library import open_library
from rosecd_jax.data.loader import LoaderConfig, Share, open_source, training_batches
from rosecd_jax.data.mixed_files import (
    MANIFEST,
    draw_from_row,
    read_manifest,
    replay_mixes,
    row_of_draw,
    write_mixes,
)
from rosecd_jax.data.mixing import Draw, MixConfig, Mixer, Piece, open_mixer, render
from rosecd_jax.data.pairs import DataError

RATE, SAMPLES = 16_000, 24_000
WHOLE = Share()


def tone(seconds, hertz, rate, channels=1):
    time_axis = np.arange(int(seconds * rate)) / rate
    wave = 0.3 * np.sin(2 * np.pi * hertz * time_axis) * (1 + 0.5 * np.sin(9 * time_axis))
    return np.stack([(0.5 + c) * wave for c in range(channels)]).astype(np.float32) / channels


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Speech, noise and rooms: several formats, rates, lengths and numbers of channels."""
    root = tmp_path_factory.mktemp("recordings")
    io.write(root / "speech" / "a" / "long.wav", tone(6, 200, 44_100, 2), 44_100)
    io.write(root / "speech" / "a" / "word.flac", tone(0.4, 300, 8_000), 8_000)
    io.write(root / "speech" / "b.ogg", tone(2, 400, 16_000), 16_000)
    io.write(root / "speech" / "c.wav", tone(1.1, 500, 22_050), 22_050)
    noise = np.random.default_rng(0)
    for number, (seconds, rate) in enumerate([(0.3, 16_000), (3, 48_000), (1, 16_000)]):
        wave = noise.normal(0, 0.1, (1 + number, int(seconds * rate))).astype(np.float32)
        io.write(root / "noise" / f"{number}.wav", wave, rate)
    response = (np.exp(-np.arange(4_000) / 600) * noise.normal(size=4_000)).astype(np.float32)
    response[:40], response[40] = 0, 4
    io.write(root / "rooms" / "hall.wav", response / 8, RATE)
    return root


@pytest.fixture(scope="module")
def mixer(folders):
    return open_mixer(*(str(folders / name) for name in ("speech", "noise", "rooms")), MixConfig(), RATE)


def db(wave):
    return 10 * np.log10(np.mean(np.square(np.asarray(wave, np.float64))))


def test_a_mix_has_the_snr_and_the_peak_that_were_drawn(mixer):
    mixes, kinds = mixer.pairs(3, SAMPLES), set()
    for index in range(60):
        draw, pair = mixes.example(index)
        assert {wave.shape for wave in pair.values()} == {(SAMPLES,)}
        peak = max(np.abs(wave).max() for wave in pair.values())
        np.testing.assert_allclose(20 * np.log10(peak), draw.level_db, atol=1e-3)
        kinds |= {noise.kind for noise in draw.noises}
        if draw.noises and not draw.response:
            noise = pair["noisy"].astype(np.float64) - pair["clean"]
            assert abs(db(pair["clean"]) - db(noise) - draw.snr_db) < 0.05
    assert {"recording", "babble"} < kinds
    assert len(kinds) > 3


def test_an_offset_of_speech_or_noise_is_no_sound_of_a_mix(tmp_path):
    noise = np.random.default_rng(0).normal(0, 0.005, 5 * RATE)
    io.write(tmp_path / "speech" / "a.wav", tone(5, 200, RATE) - 0.1, RATE)
    io.write(tmp_path / "noise" / "a.wav", noise + 0.02, RATE)
    config = MixConfig(snr=(0.0, 0.0), babble=0.0, synthetic=0.0, without_noise=0.0, tilt=0.0, band=0.0)
    mixes = open_mixer(str(tmp_path / "speech"), str(tmp_path / "noise"), "", config, RATE).pairs(0, SAMPLES)
    for index in range(10):
        pair = mixes[index]
        assert abs(pair["clean"].mean()) < 0.1 * pair["clean"].std()
        noise = pair["noisy"].astype(np.float64) - pair["clean"]
        assert abs(20 * np.log10(pair["clean"].std() / noise.std())) < 0.1


def test_what_has_no_offset_or_is_a_room_is_mixed_as_it_is(mixer, monkeypatch, tmp_path):
    pairs = [mixer.pairs(5, 4 * RATE)[index] for index in range(20)]
    monkeypatch.setattr("rosecd_jax.data.mixing.measure", lambda *_: Level(np.zeros(1), np.ones(1)))
    for index, pair in enumerate(pairs):
        for side, wave in mixer.pairs(5, 4 * RATE)[index].items():
            np.testing.assert_array_equal(wave, pair[side])
    monkeypatch.undo()
    response = np.full(RATE, 0.02)
    response[100] = 0.5
    for name, wave in (("room", response), ("speech", tone(1, 200, RATE)[0])):
        io.write(tmp_path / f"{name}.wav", wave, RATE, "FLOAT")
    speech, room = (Piece(str(tmp_path / f"{name}.wav"), 0, 0, RATE) for name in ("speech", "room"))
    found = render(Draw(RATE, RATE, (speech,), (), math.inf, response=room))["noisy"]
    expected = reverberate(tone(1, 200, RATE)[0], response, 0)[1]
    np.testing.assert_allclose(found / np.abs(found).max(), expected / np.abs(expected).max(), atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(
    snr=st.tuples(st.floats(-20, 10), st.floats(10, 40)),
    noises=st.integers(1, 4),
    babble=st.floats(0, 0.5),
    synthetic=st.floats(0, 0.5),
    tilt=st.floats(0, 6),
    share=st.floats(0, 1),
    index=st.integers(0, 2**40),
)
def test_any_config_makes_finite_mixes_that_replay(mixer, snr, noises, babble, synthetic, tilt, share, index):
    config = MixConfig(
        snr=snr, noises=noises, babble=babble, synthetic=synthetic, tilt=tilt, band=share, reverb=share
    )
    draw, pair = dataclasses.replace(mixer, config=config).pairs(0, 4_000).example(index)
    assert snr[0] <= draw.snr_db <= snr[1] or not draw.noises
    assert len(draw.noises) <= noises
    cells = {name: str(cell) for name, cell in row_of_draw(draw).items()}
    again = draw_from_row(cells)
    assert again == draw
    for side, wave in render(again).items():
        assert np.isfinite(wave).all()
        np.testing.assert_array_equal(wave, pair[side])


@pytest.mark.parametrize(
    "field",
    [
        {"snr": (5.0, -5.0)},
        {"snr": (0.0, math.inf)},
        {"snr": (1e9, 1e9)},
        {"noise_levels": 3.0},
        {"level": (-3.0, 1.0)},
        {"babble": 0.6, "synthetic": 0.6},
        {"band": -0.1},
        {"noises": 0},
        {"tilt": math.nan},
        {"target": "late"},
    ],
)
def test_a_config_that_makes_no_sense_is_refused(field):
    with pytest.raises(ValueError, match=rf"mix\.{next(iter(field))}"):
        MixConfig(**field)


def batches(folders, start=0, share=WHOLE, **options):
    names = {name: str(folders / folder) for name, folder in FOLDERS.items()}
    config = LoaderConfig(**names, batch_size=4, **options)
    return training_batches(open_source(config, RATE), config, 2_000, 1, start, share)


FOLDERS = {"speech": "speech", "noise": "noise", "rir": "rooms"}


@pytest.mark.parametrize("options", [{"threads": 1}, {"threads": 5}, {"workers": 2}])
def test_batches_are_the_same_however_they_are_read(folders, options):
    expected, stream = batches(folders), batches(folders, start=2, **options)
    wanted = [next(expected) for _ in range(5)][2:]
    for batch in wanted:
        for side, waves in next(stream).items():
            np.testing.assert_array_equal(waves, batch[side])
    stream.close()


def test_hosts_divide_a_batch(folders):
    whole = next(batches(folders, start=3))
    parts = [next(batches(folders, start=3, share=Share(process, 2))) for process in (0, 1)]
    for side in whole:
        np.testing.assert_array_equal(np.concatenate([part[side] for part in parts]), whole[side])


READER = """
import hashlib, sys
from rosecd_jax.data.loader import LoaderConfig, open_source, training_batches

root, file = sys.argv[1:]
config = LoaderConfig(speech=root + "/speech", noise=root + "/noise", rir=root + "/rooms", batch_size=2)
start = len(open(file).readlines())
with open(file, "a") as lines:
    for batch in training_batches(open_source(config, 16_000), config, 2_000, 5, start):
        digest = hashlib.sha256(batch["clean"].tobytes() + batch["noisy"].tobytes()).hexdigest()
        lines.write(digest + chr(10))
        lines.flush()
"""


@pytest.mark.slow
def test_batches_continue_bit_for_bit_after_ten_kills(folders, tmp_path):
    file, chance = tmp_path / "digests", random.Random(0)
    file.touch()
    for _ in range(10):
        before = len(file.read_text().splitlines())
        process = subprocess.Popen([sys.executable, "-c", READER, str(folders), str(file)])
        while len(file.read_text().splitlines()) <= before + 1:
            assert process.poll() is None
            time.sleep(0.02)
        time.sleep(chance.uniform(0, 0.2))
        process.kill()
        process.wait()
        complete = [line for line in file.read_text().splitlines() if len(line) == 64]
        file.write_text("".join(f"{line}\n" for line in complete))
    found = file.read_text().splitlines()
    script = tmp_path / "whole"
    script.touch()
    whole = subprocess.Popen([sys.executable, "-c", READER, str(folders), str(script)])
    while len(script.read_text().splitlines()) <= len(found):
        assert whole.poll() is None
        time.sleep(0.05)
    whole.kill()
    whole.wait()
    assert len(found) >= 20
    assert script.read_text().splitlines()[: len(found)] == found


def test_a_table_replays_to_the_same_bytes(mixer, tmp_path):
    write_mixes(tmp_path / "one", mixer, seed=4, files=6, seconds=1.0)
    replay_mixes(tmp_path / "two", tmp_path / "one" / MANIFEST)
    for path in sorted((tmp_path / "one").rglob("*")):
        if path.is_file():
            twin = tmp_path / "two" / path.relative_to(tmp_path / "one")
            assert path.read_bytes() == twin.read_bytes(), path
    for name, draw in read_manifest(tmp_path / "one" / MANIFEST).items():
        clean, noisy = (io.read(tmp_path / "one" / side / name).wave[0] for side in ("clean", "noisy"))
        if draw.noises and not draw.response:
            assert abs(db(clean) - db(noisy - clean.astype(np.float64)) - draw.snr_db) < 0.05


def test_what_is_complete_or_not_ours_is_not_overwritten(mixer, tmp_path):
    write_mixes(tmp_path, mixer, seed=4, files=3, seconds=0.5)
    with pytest.raises(DataError, match="already holds mixes"):
        write_mixes(tmp_path, mixer, seed=4, files=1, seconds=0.5)
    (tmp_path / MANIFEST).unlink()  # as if it had been interrupted
    write_mixes(tmp_path, mixer, seed=4, files=2, seconds=0.5)
    assert len(list((tmp_path / "noisy").iterdir())) == 2
    (tmp_path / MANIFEST).rename(tmp_path / "clean" / "notes.csv")
    with pytest.raises(DataError, match=r"other files.*notes\.csv"):
        write_mixes(tmp_path, mixer, seed=4, files=2, seconds=0.5)


@pytest.mark.parametrize("content", ["", "file,samples\na.wav,3\n", "\x00\x00", "file\n"])
def test_what_is_no_table_is_refused_by_name(tmp_path, content):
    table = tmp_path / "some.csv"
    table.write_text(content)
    with pytest.raises(DataError, match=r"some\.csv"):
        read_manifest(table)


def test_a_table_whose_recording_is_gone_is_refused(mixer, tmp_path):
    draw, _ = mixer.pairs(0, 1_000).example(0)
    piece = dataclasses.replace(draw.speech[0], path=str(tmp_path / "gone.wav"))
    row = row_of_draw(dataclasses.replace(draw, speech=(piece,)))
    table = tmp_path / MANIFEST
    import csv

    with open(table, "w", newline="") as file:
        writer = csv.DictWriter(file, ["file", *row])
        writer.writeheader()
        writer.writerow({"file": "mix_00000.wav", **row})
    with pytest.raises(DataError, match=r"gone\.wav"):
        replay_mixes(tmp_path / "out", table)


def test_unusable_files_are_named_and_left_out(folders, tmp_path):
    io.write(tmp_path / "good.wav", tone(1, 200, RATE), RATE)
    io.write(tmp_path / "late.wav", np.pad(tone(0.2, 200, RATE), ((0, 0), (30_000, 0))), RATE)
    io.write(tmp_path / "silent.wav", np.zeros(20_000, np.float32), RATE)
    io.write(tmp_path / "constant.wav", np.full(20_000, 0.3, np.float32), RATE)
    io.write(tmp_path / "short.wav", tone(0.05, 200, RATE), RATE)
    (tmp_path / "broken.wav").write_bytes(b"RIFF....")
    library = open_library(str(tmp_path))
    assert [os.path.basename(name) for name in library.names] == ["good.wav", "late.wav"]
    lines = "\n".join(library.left_out)
    for word in ("silent.wav: is silent", "constant.wav: is silent", "short.wav: is too short", "broken.wav"):
        assert word in lines
    assert "4 left out" in library.summary()
    assert "short.wav" in library.summary()


def test_a_file_that_breaks_later_gives_way_with_a_warning(folders, tmp_path):
    for name in "ab":
        io.write(tmp_path / f"{name}.wav", tone(1, 200, RATE), RATE)
    mixer = open_mixer(str(tmp_path), "", "", MixConfig(babble=0), RATE)
    (tmp_path / "a.wav").write_bytes(b"gone")
    with pytest.warns(UserWarning, match=r"a\.wav"):
        examples = [mixer.pairs(0, 1_000).example(index)[0] for index in range(10)]
    assert {os.path.basename(draw.speech[0].path) for draw in examples} == {"b.wav"}
    (tmp_path / "b.wav").unlink()
    with pytest.raises(DataError, match=r"b\.wav|a\.wav"), pytest.warns(UserWarning, match="left out"):
        mixer.pairs(0, 1_000).example(0)


def test_a_folder_without_audio_or_with_two_uses_is_refused(folders, tmp_path):
    speech = str(folders / "speech")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: no audio files"):
        open_mixer(speech, str(tmp_path / "empty"), "", MixConfig(), RATE)
    with pytest.raises(DataError, match="nowhere"):
        open_mixer(speech, str(tmp_path / "nowhere"), "", MixConfig(), RATE)
    with pytest.raises(DataError, match=r"long\.wav: is both in"):
        open_mixer(speech, str(folders / "speech" / "a"), "", MixConfig(), RATE)
    with pytest.raises(DataError, match=rf"is both in {speech} and in {speech}; "):
        open_mixer(speech, speech, "", MixConfig(), RATE)
    (tmp_path / "link").symlink_to(folders / "speech")
    with pytest.raises(DataError, match="is both in"):  # the same folder by another name
        open_mixer(speech, str(tmp_path / "link"), "", MixConfig(), RATE)
    io.write(tmp_path / "silence" / "a.wav", np.zeros(8_000, np.float32), RATE)
    with pytest.raises(DataError, match=r"none of its recordings.*silent"):
        open_mixer(str(tmp_path / "silence"), "", "", MixConfig(), RATE)


def test_folders_are_joined_and_a_file_counts_once(folders):
    both = open_library(os.pathsep.join(str(folders / "speech" / name) for name in ("a", "b.ogg", "a")))
    assert len(both.recordings) == 3


def test_held_back_recordings_are_not_trained_on(mixer: Mixer):
    parts = [mixer.part(held_back) for held_back in (False, True)]
    for name in ("speech", "noise"):
        train, held = ({*getattr(part, name).names} for part in parts)
        assert train
        assert held
        assert not train & held
        assert train | held == {*getattr(mixer, name).names}
    alone = dataclasses.replace(mixer.speech, recordings=mixer.speech.recordings[:1])
    with pytest.raises(DataError, match="one recording only"):
        alone.part(True, 0.1)


def test_a_tilt_is_so_many_decibels_an_octave():
    impulse = np.zeros(8_000)
    impulse[4_000] = 1
    spectrum = np.abs(np.fft.rfft(tilt(impulse, 3.0, RATE)))
    hertz = np.fft.rfftfreq(8_000, 1 / RATE)
    gains = 20 * np.log10(np.interp([500, 1000, 2000, 4000], hertz, spectrum))
    np.testing.assert_allclose(gains, [-3, 0, 3, 6], atol=0.1)


def test_a_band_ends_where_it_is_told_to():
    impulse = np.zeros(16_000)
    impulse[8_000] = 1
    spectrum = np.abs(np.fft.rfft(limit_band(impulse, 200, 4000, RATE)))
    np.testing.assert_allclose(spectrum[[200, 900, 4000]], [0.5, 1, 0.5], atol=0.01)
    assert spectrum[50] < 0.01
    assert spectrum[7_900] < 0.1
    np.testing.assert_allclose(limit_band(impulse, 0, 0, RATE), impulse, atol=1e-12)


def test_a_room_keeps_the_direct_sound_where_it_was():
    wave = np.random.default_rng(0).normal(size=4_000)
    response = np.zeros(900)
    response[[30, 130, 700]] = 1.0, 0.5, -0.25
    early, heard = reverberate(wave, response, early_samples=200)
    shifted = [np.pad(wave, (delay, 0))[: wave.size] for delay in (0, 100, 670)]
    np.testing.assert_allclose(heard, shifted[0] + 0.5 * shifted[1] - 0.25 * shifted[2], atol=1e-9)
    np.testing.assert_allclose(early, shifted[0] + 0.5 * shifted[1], atol=1e-9)
    dry, _ = reverberate(wave, response, early_samples=0)
    np.testing.assert_allclose(dry, wave, atol=1e-9)
    with pytest.raises(ValueError, match="silent"):
        reverberate(wave, np.zeros(10), 0)


@pytest.mark.parametrize(("options", "kinds"), [(["--noise"], {"recording"}), ([], None)])
def test_the_command_makes_a_test_set_of_its_noise_alone(folders, tmp_path, options, kinds):
    words = [sys.executable, "-m", "rosecd_jax.cli", "prepare", "mix", tmp_path / "out", "--files", "25"]
    words += [
        "--speech",
        folders / "speech",
        "--seconds",
        "0.5",
        *options,
        *[folders / "noise" for _ in options],
    ]
    subprocess.run(words, check=True, capture_output=True)
    draws = read_manifest(tmp_path / "out" / "test" / MANIFEST)
    found = {noise.kind for draw in draws.values() for noise in draw.noises}
    assert found == kinds if kinds else "recording" not in found and "babble" in found
