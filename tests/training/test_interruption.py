"""A run that is killed, stopped or started twice: real processes, real signals."""

import json
import random
import signal
import time

import pytest

from tests.training.runs import assert_equal, finish, last_step, start, write_config, write_corpus

KILLS = 10


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return write_config(tmp_path_factory.mktemp("config"))


@pytest.fixture(scope="module")
def undisturbed(config, corpus, tmp_path_factory):
    """The working directory of a run that nothing happened to, and its log."""
    folder = tmp_path_factory.mktemp("undisturbed")
    log = finish(start(config, corpus, folder / "run", log=folder / "log"), folder / "log")
    return folder / "run", log


def wait_for(condition, process, seconds=120.0):
    """Until something is so; fails if the process ends or it takes too long."""
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "the process ended"
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.01)


def test_a_run_killed_ten_times_ends_with_the_very_weights_of_an_undisturbed_one(
    undisturbed, config, corpus, tmp_path
):
    generator, kills, resumed_at = random.Random(0), 0, []
    while kills < KILLS:
        log = tmp_path / f"log-{kills}"
        process = start(config, corpus, tmp_path / "run", log=log)
        if kills % 3:  # while it trains, validates or writes a checkpoint
            steps = generator.randint(1, 7)
            wait_for(lambda: log.read_text().count("loss") >= steps, process)  # noqa: B023 (called at once)
            time.sleep(generator.uniform(0, 0.3))
        else:  # while it starts, or restores
            time.sleep(generator.uniform(1, 6))
        assert process.poll() is None, f"over before it could be killed:\n{log.read_text()[-2000:]}"
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
        resumed_at += [line for line in log.read_text().splitlines() if line.startswith("resumed")]
    log = tmp_path / "log"
    finish(start(config, corpus, tmp_path / "run", log=log), log)
    assert len(set(resumed_at)) >= 2  # it came forward between the kills
    assert_equal(last_step(tmp_path / "run"), last_step(undisturbed[0]))
    scores = [json.loads((run / "validation.json").read_text()) for run in (tmp_path / "run", undisturbed[0])]
    assert sorted(map(int, scores[0])) == [12, 24, 36, 48, 60]
    for step, values in scores[1].items():  # ESTOI alone is not exact: its package adds a little noise
        assert scores[0][step] == pytest.approx(values, rel=1e-9)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_told_to_stop_saves_and_can_be_gone_on_with(
    undisturbed, config, corpus, tmp_path, number
):
    log = tmp_path / "log"
    process = start(config, corpus, tmp_path / "run", "--config.checkpoints.every=1000", log=log)
    wait_for(lambda: "step 4/60" in log.read_text(), process)
    process.send_signal(number)
    words = finish(process, log)
    stopped = next(line for line in words.splitlines() if "stopped at step" in line)
    assert stopped.startswith(number.name)
    step = int(stopped.split("stopped at step ")[1].split(";")[0])
    assert 4 <= step < 60
    assert last_step(tmp_path / "run")["step"] == step
    words = finish(start(config, corpus, tmp_path / "run", log=log), log)
    assert f"resumed at step {step} " in words
    assert_equal(last_step(tmp_path / "run"), last_step(undisturbed[0]))


def test_a_second_process_in_the_same_directory_is_refused_by_name(config, corpus, tmp_path):
    log, other = tmp_path / "log", tmp_path / "other"
    first = start(config, corpus, tmp_path / "run", "--config.steps=100000", log=log)
    try:
        wait_for(lambda: "step 2/" in log.read_text(), first)
        second = start(config, corpus, tmp_path / "run", log=other)
        assert second.wait(timeout=120) == 1
        assert f"is in use by process {first.pid} on " in " ".join(other.read_text().split())
        assert first.poll() is None
    finally:
        first.kill()
        first.wait()
    again = start(config, corpus, tmp_path / "run", "--config.steps=3", log=other)
    finish(again, other)  # a killed process leaves no lock


def test_what_is_learnt_cannot_change_on_the_way_unless_it_is_asked_for(
    undisturbed, config, corpus, tmp_path
):
    workdir, _ = undisturbed
    log = tmp_path / "log"
    process = start(config, corpus, workdir, "--config.optimiser.learning_rate=0.001", log=log)
    assert process.wait(timeout=120) == 1
    assert "optimiser.learning_rate: 0.003 -> 0.001" in log.read_text()
    assert "--config.resume_override=True" in log.read_text()
    before = last_step(workdir)
    words = finish(
        start(
            config,
            corpus,
            workdir,
            "--config.optimiser.learning_rate=0.001",
            "--config.resume_override=True",
            log=log,
        ),
        log,
    )
    assert "resumed at step 60" in words
    assert_equal(last_step(workdir), before)
