"""Recipes of test sets, on stand-ins of the corpora: counts, SNRs, rooms; continued, replayed, refused."""

import importlib.util
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from rosecd_jax.audio import io
from rosecd_jax.audio.loudness import loudness
from rosecd_jax.cli import app
from rosecd_jax.data.degradations import MeasuredRoom, reverberation_time
from rosecd_jax.data.mixed_files import MANIFEST
from rosecd_jax.data.pairs import DataError, PairedFiles
from rosecd_jax.data.recipe_files import SIDES, prepare_recipe, read_mixes, replay_recipe
from rosecd_jax.data.recipes import RECIPES, open_draws
from tests.data import stand_ins

CORPORA = {
    "timit-noisex": ("timit", "noisex"),
    "wsj0-chime3": ("wsj0", "chime3"),
    "wsj0-qut": ("wsj0", "qut"),
    "wsj0-reverb": ("wsj0",),
    "ears-wham": ("ears", "wham"),
    "ears-reverb": ("ears", "rooms"),
}
FILES = {"timit-noisex": 192, "wsj0-chime3": 6, "wsj0-qut": 6, "wsj0-reverb": 6}
FILES |= {"ears-wham": 8, "ears-reverb": 8}
NEEDS_ROOMS = pytest.mark.skipif(
    importlib.util.find_spec("pyroomacoustics") is None,
    reason="needs the package pyroomacoustics: pip install 'rosecd-jax[sets]'",
)
EVERY = [pytest.param(name, marks=NEEDS_ROOMS if name == "wsj0-reverb" else ()) for name in RECIPES]
every_recipe = pytest.mark.parametrize("name", EVERY)


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    """A function from a recipe's name to the folders of its corpora, made once."""
    root, made = tmp_path_factory.mktemp("corpora"), {}

    def folders(name: str) -> list[Path]:
        for corpus in CORPORA[name]:
            if corpus not in made:
                made[corpus] = getattr(stand_ins, corpus)(root)
        return [made[corpus] for corpus in CORPORA[name]]

    return folders


@pytest.fixture(scope="module")
def sets(corpora, tmp_path_factory):
    """A function from a recipe's name to its set, made once by the command."""
    root = tmp_path_factory.mktemp("sets")

    def made(name: str) -> Path:
        if not (root / name).exists():
            words = ["prepare", name, *corpora(name), root / name]
            done = CliRunner().invoke(app, list(map(str, words)), catch_exceptions=False)
            assert done.exit_code == 0, done.output
            assert f"{FILES[name]} pairs" in done.output
        return root / name / "test"

    return made


def both(corpora, name: str) -> tuple[Path, Path | None]:
    speech, *partners = corpora(name)
    return speech, partners[0] if partners else None


def waves(folder: Path, name: str, file: str) -> list[np.ndarray]:
    return [io.read(folder / side / file).wave[0].astype(np.float64) for side in SIDES]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def power(wave: np.ndarray) -> float:
    return 10 * np.log10(np.mean(np.square(wave)))


@every_recipe
def test_a_set_is_of_pairs_that_training_and_evaluation_read(sets, name):
    recipe, folder = RECIPES[name], sets(name)
    mixes = read_mixes(folder / MANIFEST)
    pairs = PairedFiles(folder, recipe.sample_rate)
    assert sorted(pairs.names) == sorted(mix.file for mix in mixes)
    assert len(pairs) == FILES[name]
    for side in SIDES:
        assert {io.info(path).subtype for path in (folder / side).iterdir()} == {recipe.subtype}
    for index in range(len(pairs)):
        assert max(np.abs(wave).max() for wave in pairs[index].values()) <= 1


@pytest.mark.parametrize("name", ["timit-noisex", "wsj0-chime3", "wsj0-qut", "ears-wham"])
def test_the_snr_on_the_output_is_the_one_that_was_drawn(sets, name):
    folder, measure = sets(name), loudness if name == "ears-wham" else power
    lowest, highest = (0, 15) if name in ("timit-noisex", "wsj0-qut") else RECIPES[name].degradation.snr
    drawn = []
    for mix in read_mixes(folder / MANIFEST):
        clean, noisy = waves(folder, name, mix.file)
        assert abs(measure(clean) - measure(noisy - clean) - mix.snr_db) < 0.05
        drawn.append(mix.snr_db)
    assert lowest <= min(drawn) < max(drawn) <= highest
    if name == "timit-noisex":
        counts = Counter(drawn)
        assert set(counts) == {0, 5, 10, 15}
        assert min(counts.values()) > 30


def test_the_sentences_of_timit_are_the_core_test_set(sets):
    mixes = read_mixes(sets("timit-noisex") / MANIFEST)
    assert Counter(mix.speaker for mix in mixes) == dict.fromkeys(stand_ins.CORE, 8)
    assert {mix.file.rpartition("_")[2][:2] for mix in mixes} == {"sx", "si"}
    assert {mix.kind for mix in mixes} == set(stand_ins.NOISES)


def test_noises_are_those_of_the_recipe(sets):
    chime = read_mixes(sets("wsj0-chime3") / MANIFEST)
    assert all(mix.noise.endswith(".CH1.wav") and "backgrounds" in mix.noise for mix in chime)
    assert {mix.kind for mix in chime} <= {"bus", "caf", "ped", "str"}
    assert all("si_et_05" in mix.speech for mix in chime)
    assert not any("FOODCOURT" in mix.noise for mix in read_mixes(sets("wsj0-qut") / MANIFEST))
    for mix in read_mixes(sets("ears-wham") / MANIFEST):
        assert "10_02" not in mix.noise  # shorter than any speech


def test_sweeps_at_the_ends_of_the_car_noise_are_not_used(corpora):
    draws = open_draws(RECIPES["wsj0-qut"], *both(corpora, "wsj0-qut"), "test", 0)
    cars = 0
    for seed in range(12):
        for mix in (type(draws)(**{**vars(draws), "seed": seed})[index] for index in range(len(draws))):
            if mix.kind == "car":
                assert 120 * 16_000 <= mix.noise_start <= 122 * 16_000 - mix.samples
                cars += 1
    assert cars > 5


def test_long_recordings_of_ears_are_cut_and_faded(sets):
    folder = sets("ears-wham")
    mixes = {mix.file: mix for mix in read_mixes(folder / MANIFEST)}
    parts = [mixes[f"p102_freeform_speech_01_0{number}.wav"] for number in (1, 2)]
    assert [(part.start, part.samples) for part in parts] == [(0, 480_000), (480_000, 240_000)]
    assert not any("whisper" in name or "melodic" in name for name in mixes)
    for mix in mixes.values():
        for wave in waves(folder, "ears-wham", mix.file):
            assert wave[0] == wave[-1] == 0


def test_measured_rooms_reverberate_and_keep_the_loudness(sets):
    folder = sets("ears-reverb")
    for mix in read_mixes(folder / MANIFEST):
        dry, heard = waves(folder, "ears-reverb", mix.file)
        assert mix.kind in ("ace-challenge", "arni")
        assert mix.t60 == pytest.approx(0.5 if mix.kind == "ace-challenge" else 1.2, rel=0.15)
        assert abs(loudness(heard) - loudness(dry)) < 0.2  # before the fades they are equal
        assert np.abs(heard - dry).max() > 0.01


def first_sound(dry: np.ndarray, heard: np.ndarray) -> tuple[float, float]:
    """The room's response at the time of the direct sound, and the largest before it; `dry` is white."""
    size = 2 * heard.size
    response = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(dry, size))) / np.sum(dry**2)
    return np.abs(response[:3]).max(), np.abs(response[-2_000:-40]).max()


def test_a_measured_room_delays_nothing(corpora):
    speech, root = 0.1 * np.random.default_rng(0).normal(size=48_000), corpora("ears-reverb")[1]
    for room in root.rglob("*RIR.wav"):
        values = {"response": room.relative_to(root).as_posix(), "channel": 1}
        dry, heard = MeasuredRoom(longest=2.0).render(values, root, speech, 48_000)
        np.testing.assert_array_equal(dry, speech)
        direct, before = first_sound(dry, heard)
        assert direct > 10 * before


@NEEDS_ROOMS
def test_simulated_rooms_are_aligned_with_their_direct_path(sets, corpora):
    folder, speech = sets("wsj0-reverb"), corpora("wsj0-reverb")[0]
    white = 0.1 * np.random.default_rng(0).normal(size=16_000)
    for mix in read_mixes(folder / MANIFEST):
        assert 0.4 <= mix.t60 <= 1.0
        direct, heard = waves(folder, "wsj0-reverb", mix.file)
        dry = io.read(speech / mix.speech).wave[0]
        assert direct.size == heard.size == dry.size + 8_000
        assert np.corrcoef(direct[: dry.size], dry)[0, 1] > 0.95
        assert np.abs(direct[dry.size + 200 :]).max() < 1e-3 < np.abs(heard[dry.size + 200 :]).max()
        degradation = RECIPES["wsj0-reverb"].degradation
        target, heard = degradation.render({"t60": mix.t60, "room": mix.room}, Path(), white, 16_000)
        arrival, before = first_sound(target, heard)
        assert arrival > 5 * before
        assert arrival == pytest.approx(1, abs=0.2)  # the direct sound is as loud in both


@every_recipe
def test_a_manifest_replays_to_the_same_bytes(sets, corpora, tmp_path, name):
    folder = sets(name)
    copies = [shutil.copytree(path, tmp_path / "elsewhere" / path.name) for path in corpora(name)]
    words = ["prepare", name, *copies, tmp_path / "again", "--seed", "9", "--replay", folder / MANIFEST]
    done = CliRunner().invoke(app, list(map(str, words)), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert contents(tmp_path / "again" / "test") == contents(folder)


@every_recipe
def test_an_interrupted_set_is_continued_to_the_same_bytes(sets, corpora, tmp_path, name):
    recipe, folder = RECIPES[name], shutil.copytree(sets(name), tmp_path / "out" / "test")
    whole = contents(folder)
    for number, side in enumerate(SIDES):
        for path in sorted((folder / side).iterdir())[3 + number :]:
            path.unlink()
    path.with_name(f".{path.name}.0123456789abcdef.part").touch()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.wav")}
    prepare_recipe(recipe, *both(corpora, name), tmp_path / "out")
    assert contents(folder) == whole
    complete = sorted((folder / SIDES[0]).iterdir())[:3]
    assert all(path.stat().st_mtime_ns == before[path] for path in complete)


def test_values_depend_on_seed_and_index_alone(corpora):
    recipe, places = RECIPES["timit-noisex"], both(corpora, "timit-noisex")
    draws = open_draws(recipe, *places, "test", 3)
    assert draws[100] == open_draws(recipe, *places, "test", 3)[100]
    assert draws[100] != open_draws(recipe, *places, "test", 4)[100]


KILLED = """
import sys
from pathlib import Path
from rosecd_jax.data.recipe_files import prepare_recipe
from rosecd_jax.data.recipes import RECIPES
prepare_recipe(RECIPES["timit-noisex"], *map(Path, sys.argv[1:]))
"""


@pytest.mark.slow
def test_a_set_that_was_killed_often_is_the_same(sets, corpora, tmp_path):
    words = [sys.executable, "-c", KILLED, *map(str, corpora("timit-noisex")), str(tmp_path)]
    for least in (0, 1, 30, 90, 150):
        process = subprocess.Popen(words)
        while len(list(tmp_path.rglob("*.wav"))) < least and process.poll() is None:
            time.sleep(0.01)
        process.kill()
        process.wait()
    subprocess.run(words, check=True)
    assert contents(tmp_path / "test") == contents(sets("timit-noisex"))


def test_another_split_is_of_other_speech(corpora, tmp_path):
    speech, noise = both(corpora, "wsj0-chime3")
    made = prepare_recipe(RECIPES["wsj0-chime3"], speech, noise, tmp_path, "valid", seed=2)
    assert made["valid"].files == 6
    mixes = read_mixes(tmp_path / "valid" / MANIFEST)
    assert all("si_dt_05" in mix.speech and mix.seed == 2 for mix in mixes)
    with pytest.raises(DataError, match="TIMIT has no split 'train'"):
        prepare_recipe(RECIPES["timit-noisex"], *both(corpora, "timit-noisex"), tmp_path, "train")


def test_other_files_are_not_mixed_up(sets, corpora, tmp_path):
    recipe, places = RECIPES["wsj0-chime3"], both(corpora, "wsj0-chime3")
    folder = shutil.copytree(sets("wsj0-chime3"), tmp_path / "test")
    with pytest.raises(DataError, match=r"already holds other files \(wsj0-chime3, test, seed 0\)"):
        prepare_recipe(recipe, *places, tmp_path, seed=1)
    with pytest.raises(DataError, match="is for wsj0-chime3, not wsj0-qut"):
        replay_recipe(RECIPES["wsj0-qut"], *places, tmp_path / "new", folder / MANIFEST)
    (folder / "noisy" / "mine.wav").touch()
    with pytest.raises(DataError, match=r"holds other files, such as .*mine\.wav"):
        prepare_recipe(recipe, *places, tmp_path)


@pytest.mark.parametrize("content", ["", "file\n", "file,seed\na.wav,x\n", "file,samples\na.wav,3\n", "\0"])
def test_what_is_no_manifest_is_refused_by_name(tmp_path, content):
    (tmp_path / "some.csv").write_text(content)
    with pytest.raises(DataError, match=r"some\.csv: not a manifest"):
        read_mixes(tmp_path / "some.csv")


@pytest.mark.parametrize("change", ["../a.wav", "a/b.wav"])
def test_a_manifest_writes_only_into_its_folder(sets, tmp_path, change):
    text = (sets("wsj0-chime3") / MANIFEST).read_text().replace("440c0200.wav", change, 1)
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(DataError, match="is not the name of a file"):
        read_mixes(tmp_path / MANIFEST)


@pytest.mark.parametrize(
    ("name", "remove", "message"),
    [
        ("timit-noisex", "TIMIT/TEST/DR1/FELC0", r"TEST/DR\*/SPEAKER.*missing: \S*felc0\S* \(0 of 8\)"),
        ("timit-noisex", "TIMIT/TEST/DR2/FPAS0/SI1.WAV", r"missing: \S*fpas0\S* \(7 of 8\)"),
        ("timit-noisex", "NOISEX-92/*", r"NOISEX-92: not NOISEX-92 as it is published.*babble"),
        ("wsj0-chime3", "csr_1/wsj0/si_et_05", r"csr_1: not WSJ0 as.*si_et_05.*missing: \*/si_et_05/\*"),
        ("wsj0-chime3", "CHiME3/data/audio/16kHz/backgrounds", r"backgrounds/\*\.CH1\.wav"),
        ("ears-wham", "EARS/p105", r"EARS: not EARS as.*missing: \*/p105/\*"),
        ("ears-wham", "WHAM48kHz", r"WHAM48kHz: no such folder; give the folder of WHAM! at 48 kHz"),
        ("ears-reverb", "ROOMS/A*", r"none of 200 draws had a reverberation time of at most 2 s"),
        ("ears-reverb", "ROOMS/*", r"one or more of ACE-Challenge"),
    ],
)
def test_what_is_missing_is_named(corpora, tmp_path, name, remove, message):
    folders = [shutil.copytree(path, tmp_path / path.name) for path in corpora(name)]
    for path in list(tmp_path.glob(remove)):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    done = CliRunner().invoke(app, list(map(str, ["prepare", name, *folders, tmp_path / "out"])))
    assert done.exit_code == 1
    with pytest.raises(DataError, match=message):
        prepare_recipe(RECIPES[name], *folders, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("suffix", ["wv1", "wav"])
def test_files_that_shorten_compressed_are_named_with_the_remedy(corpora, tmp_path, suffix):
    header = b"NIST_1A\n   1024\nchannel_count -i 1\nsample_rate -i 16000\nsample_n_bytes -i 2\n"
    header += b"sample_byte_format -s2 01\nsample_count -i 100\n"
    header += b"sample_coding -s26 pcm,embedded-shorten-v2.00\nend_head\n"
    path = tmp_path / "wsj0" / "si_et_05" / "440" / f"440c0201.{suffix}"
    path.parent.mkdir(parents=True)
    path.write_bytes(header.ljust(1024) + b"ajkg\2" + bytes(300))
    with pytest.raises(DataError, match=r"compressed by shorten.*sph2pipe -f wav"):
        open_draws(RECIPES["wsj0-chime3"], tmp_path, corpora("wsj0-chime3")[1], "test", 0)


def test_recordings_of_a_lower_rate_or_length_are_refused(corpora, tmp_path):
    low = tmp_path / "EARS"
    for number in range(102, 108):
        stand_ins.put(low / f"p{number}" / "a.wav", stand_ins.voice("a", 5, 16_000), 16_000)
    with pytest.raises(DataError, match=r"at 16000 Hz, EARS is published at 48000 Hz; give the original"):
        open_draws(RECIPES["ears-wham"], low, corpora("ears-wham")[1], "test", 0)
    stand_ins.put(tmp_path / "short" / "babble.wav", stand_ins.noise("a", 0.2, 19_980), 19_980)
    draws = open_draws(RECIPES["timit-noisex"], corpora("timit-noisex")[0], tmp_path / "short", "test", 0)
    with pytest.raises(DataError, match="as long as the speech"):
        draws[0]


def test_a_recording_in_two_formats_counts_once_and_a_subfolder_can_be_given(corpora, tmp_path):
    speech, noise = both(corpora, "wsj0-chime3")
    copy = shutil.copytree(speech / "wsj0" / "si_et_05", tmp_path / "si_et_05")
    for path in copy.rglob("*00.wav"):
        shutil.copy(path, path.with_suffix(".wv1.wav"))
        shutil.copy(path, path.with_suffix(".wv2.wav"))
    whole = open_draws(RECIPES["wsj0-chime3"], speech, noise, "test", 0)
    part = open_draws(
        RECIPES["wsj0-chime3"], copy, noise / "data" / "audio" / "16kHz" / "backgrounds", "test", 0
    )
    assert [part[index].snr_db for index in range(6)] == [whole[index].snr_db for index in range(6)]


def test_without_pyroomacoustics_nothing_is_written(corpora, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyroomacoustics", None)
    words = ["prepare", "wsj0-reverb", str(corpora("wsj0-reverb")[0]), str(tmp_path / "out")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 1
    assert done.stderr.strip().endswith("pip install 'rosecd-jax[sets]'")
    assert not (tmp_path / "out").exists()


def test_the_loudness_is_that_of_the_recommendation():
    axis = np.arange(5 * 48_000) / 48_000
    sine = np.sin(2 * np.pi * 997 * axis)
    assert loudness(sine) == pytest.approx(-3.01, abs=0.02)  # of ITU-R BS.1770: 0 dB FS, one channel
    assert loudness(0.1 * sine) == pytest.approx(-23.01, abs=0.02)
    assert loudness(np.concatenate([sine, np.zeros(20 * 48_000)])) == pytest.approx(-3.1, abs=0.2)
    assert loudness(np.zeros(48_000)) == loudness(sine[:1000]) == -np.inf


@pytest.mark.parametrize("t60", [0.3, 1.5])
def test_a_reverberation_time_is_measured(t60):
    axis = np.arange(int(1.5 * t60 * 16_000)) / 16_000
    response = np.random.default_rng(0).normal(size=axis.size) * 10 ** (-3 * axis / t60)
    assert reverberation_time(response, 16_000) == pytest.approx(t60, rel=0.03)
    assert reverberation_time(np.eye(1, 50)[0], 16_000) == np.inf
    assert reverberation_time(np.zeros(50), 16_000) == np.inf
