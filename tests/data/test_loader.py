"""rosecd_jax.data.loader: pairs, crops, and an order that can be gone on with."""

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from rosecd_jax.audio import io
from rosecd_jax.data.loader import (
    LoaderConfig,
    Share,
    center_crop,
    open_source,
    random_crop,
    training_batches,
)
from rosecd_jax.data.mixing import MixConfig
from rosecd_jax.data.pairs import DataError

RATE, SAMPLES = 16_000, 1_000
WHOLE = Share()


@pytest.fixture
def corpus(tmp_path):
    """Seven pairs; every sample of file k is k / 10 clean, and a fifth more noisy."""
    for k in range(1, 8):
        wave = np.full(1_500 + 10 * k, k / 10, np.float32)
        for side, gain in (("clean", 1.0), ("noisy", 1.2)):
            io.write(tmp_path / "train" / side / f"{k}.wav", gain * wave, RATE, subtype="FLOAT")
    return tmp_path


def batches(corpus, seed=0, start=0, share=WHOLE, **config):
    settings = LoaderConfig(**{"path": str(corpus), "batch_size": 2, **config})
    return training_batches(open_source(settings, RATE), settings, SAMPLES, seed, start, share)


def test_a_batch_has_its_shape_and_its_pairs(corpus):
    batch = next(batches(corpus))
    assert batch["clean"].shape == batch["noisy"].shape == (2, SAMPLES)
    assert batch["clean"].dtype == batch["noisy"].dtype == np.float32
    np.testing.assert_allclose(batch["noisy"], 1.0, rtol=1e-6)  # divided by its own maximum
    np.testing.assert_allclose(batch["clean"], 1 / 1.2, rtol=1e-6)


def test_every_file_is_read_once_in_an_epoch_and_in_another_order_in_the_next(corpus):
    for k in range(1, 8):  # the ratio of clean and noisy says which file it is
        wave = np.full(1_600, 0.1 * k, np.float32)
        io.write(corpus / "train" / "clean" / f"{k}.wav", wave, RATE, subtype="FLOAT")
        io.write(corpus / "train" / "noisy" / f"{k}.wav", np.ones_like(wave), RATE, subtype="FLOAT")
    stream = batches(corpus)
    order = [round(10 * float(v)) for _ in range(7) for v in next(stream)["clean"][:, 0]]
    assert sorted(order[:7]) == sorted(order[7:]) == list(range(1, 8))
    assert order[:7] != order[7:]


@pytest.fixture
def noises(corpus):
    """The corpus with noise instead of constants, so that every crop differs."""
    generator = np.random.default_rng(0)
    for k in range(1, 8):
        noise = generator.normal(size=3_000).astype(np.float32) / 10
        for side in ("clean", "noisy"):
            io.write(corpus / "train" / side / f"{k}.wav", noise, RATE, subtype="FLOAT")
    return corpus


@pytest.mark.parametrize("how", [{"threads": 1}, {"threads": 4}, {"workers": 1}, {"workers": 4}], ids=str)
def test_the_seed_alone_decides(noises, how):
    ours, same, other = batches(noises, 3), batches(noises, 3, **how), batches(noises, 4)
    for _ in range(9):  # more than an epoch
        wave = next(ours)["noisy"]
        np.testing.assert_array_equal(wave, next(same)["noisy"])
        assert not np.array_equal(wave, next(other)["noisy"])


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_can_be_gone_on_with_at_any_number(noises, workers):
    stream = batches(noises)
    expected = [next(stream)["noisy"] for _ in range(9)]
    again = batches(noises, start=3, workers=workers)
    for wave in expected[3:]:
        np.testing.assert_array_equal(next(again)["noisy"], wave)


def test_a_batch_of_one_from_a_few_files_goes_on_for_ever(noises):
    stream = batches(noises, batch_size=1, start=10**9)
    assert next(stream)["noisy"].shape == (1, SAMPLES)


LOADER = """
import sys
from rosecd_jax.data.loader import LoaderConfig, open_source, training_batches

def main():
    settings = LoaderConfig(path=sys.argv[1], batch_size=2, workers=2)
    stream = training_batches(open_source(settings, 16_000), settings, 1_000, seed=0)
    for _ in range(2):  # from each worker one
        next(stream)
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(100):
        next(stream)
    print("done", flush=True)
    sys.stdin.readline()
    stream.close()
    print("closed", flush=True)

if __name__ == "__main__":
    main()
"""


@pytest.fixture
def loader(corpus):
    """A process with two workers, in a group of its own, and the numbers of the processes it started."""
    program = corpus / "program.py"
    program.write_text(LOADER)
    process = subprocess.Popen(
        [sys.executable, program, corpus],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    yield process
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def group(number):
    """The living processes of a process group."""
    listed = subprocess.check_output(["ps", "-e", "-o", "pid=,pgid=,stat="], text=True)
    rows = [line.split() for line in listed.splitlines()]
    return {int(pid) for pid, pgid, state in rows if int(pgid) == number and not state.startswith("Z")}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("ps") is None, reason="lists processes by ps")
def test_workers_end_with_a_process_that_is_killed(loader):
    assert len(group(loader.pid)) >= 3
    loader.kill()
    loader.wait()
    end = time.monotonic() + 30
    while group(loader.pid):
        assert time.monotonic() < end, "workers live on"
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("ps") is None, reason="lists processes by ps")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=str)
def test_a_signal_to_the_whole_group_is_left_to_the_training_process(loader, number):
    """Which may need some batches more, and then a clean end."""
    for worker in group(loader.pid) - {loader.pid}:
        os.kill(worker, number)
    output, _ = loader.communicate("\n\n", timeout=60)
    assert output == "done\nclosed\n"
    assert loader.returncode == 0


def test_the_shares_of_processes_make_up_the_whole_batch(noises):
    whole = batches(noises, batch_size=6, start=2)
    shares = [batches(noises, batch_size=6, start=2, share=Share(i, 3)) for i in range(3)]
    for _ in range(4):
        parts = [next(share)["clean"] for share in shares]
        assert {part.shape for part in parts} == {(2, SAMPLES)}
        np.testing.assert_array_equal(np.concatenate(parts), next(whole)["clean"])


def test_a_short_pair_is_padded_on_both_sides():
    pair = {"clean": np.ones(3, np.float32), "noisy": np.full(3, 2, np.float32)}
    crop = random_crop(pair, 8, np.random.default_rng(0))
    np.testing.assert_array_equal(crop["noisy"], [0, 0, 1, 1, 1, 0, 0, 0])
    np.testing.assert_array_equal(crop["clean"], [0, 0, 0.5, 0.5, 0.5, 0, 0, 0])


def test_both_sides_are_cropped_alike_and_everywhere():
    wave = np.arange(1, 11, dtype=np.float32)
    generator, firsts = np.random.default_rng(0), set()
    for _ in range(200):
        crop = random_crop({"clean": wave, "noisy": 2 * wave}, 8, generator)
        np.testing.assert_allclose(crop["clean"] * 2, crop["noisy"])
        firsts.add(round(float(crop["noisy"][0]), 4))
    assert firsts == {
        round(start / (start + 7), 4) for start in (1, 2, 3)
    }  # 10 samples hold three crops of 8


def test_a_centered_crop_is_the_middle():
    wave = np.arange(1, 11, dtype=np.float32)
    crop = center_crop({"clean": wave, "noisy": 2 * wave}, 4)
    np.testing.assert_allclose(crop["noisy"], np.array([4, 5, 6, 7]) / 7)
    np.testing.assert_allclose(crop["clean"], crop["noisy"] / 2)
    padded = center_crop({"clean": wave, "noisy": wave}, 12)
    np.testing.assert_allclose(padded["clean"], np.concatenate([[0], wave / 10, [0]]))


def test_a_silent_crop_stays_silent():
    silence = np.zeros(20, np.float32)
    crop = random_crop({"clean": silence, "noisy": silence}, 8, np.random.default_rng(0))
    assert not crop["clean"].any()
    assert np.isfinite(crop["noisy"]).all()


def test_no_path_is_an_error_that_says_how_to_give_one():
    with pytest.raises(DataError, match=r"--config\.data\.path"):
        open_source(LoaderConfig(), RATE)


def test_what_does_not_fit_is_said_before_the_first_batch_with_the_remedy(corpus):
    io.write(corpus / "train" / "noisy" / "2.wav", np.zeros(99), RATE)
    settings = LoaderConfig(path=str(corpus))
    with pytest.raises(DataError, match=r"(?s)2\.wav.*do without"):
        open_source(settings, RATE, "do without")


@pytest.mark.parametrize(
    ("mix", "refused"),
    [
        ({"babble": 0.0}, True),
        ({"babble": 0.3}, True),
        ({"babble": 1.0}, False),
        ({"without_noise": 1.0}, False),
    ],
)
def test_synthetic_noise_that_is_excluded_does_not_stand_for_missing_noise(tmp_path, mix, refused):
    for side in ("speech", "noise"):
        io.write(tmp_path / side / "a.wav", np.random.default_rng(0).normal(0, 0.1, RATE), RATE)
    alone = LoaderConfig(speech=str(tmp_path / "speech"), mix=MixConfig(synthetic=0.0, **mix))
    if refused:
        with pytest.raises(DataError, match=r"no noise: mix\.synthetic is 0.*--config\.data\.noise=FOLDER"):
            open_source(alone, RATE)
        alone = dataclasses.replace(alone, noise=str(tmp_path / "noise"))
    mixes = open_source(alone, RATE).pairs(0, 1_000)
    kinds = {noise.kind for index in range(10) for noise in mixes.example(index)[0].noises}
    assert kinds <= {"babble", "recording"}
