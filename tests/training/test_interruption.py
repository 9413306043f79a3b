"""A run that is killed, stopped or started twice: real processes, real signals."""

import json
import random
import re
import signal
import time

import pytest

from tests.training.runs import assert_equal, finish, last_step, start

pytestmark = pytest.mark.slow

KILLS = 10


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


def checkpoints(workdir):
    """The steps whose checkpoints are complete."""
    return {int(folder.name) for folder in (workdir / "checkpoints").glob("*") if folder.name.isdigit()}


def test_a_run_killed_ten_times_ends_with_the_very_weights_of_an_undisturbed_one(
    undisturbed, config, corpus, tmp_path
):
    generator, run, seen = random.Random(0), tmp_path / "run", []
    for kill in range(KILLS):
        log = tmp_path / f"log-{kill}"
        before = checkpoints(run)
        process = start(config, corpus, run, log=log)
        if kill % 3 == 0:  # while it starts, or restores
            time.sleep(generator.uniform(0.5, 4))
        elif kill % 3 == 1:  # while it trains or writes
            steps = generator.randint(1, 4)
            wait_for(lambda: log.read_text().count("loss") >= steps, process)  # noqa: B023 (called at once)
        else:  # after it came forward
            wait_for(lambda: checkpoints(run) - before, process)  # noqa: B023
        time.sleep(generator.uniform(0, 0.2))
        assert process.poll() is None, f"over before it could be killed:\n{log.read_text()[-2000:]}"
        process.send_signal(signal.SIGKILL)
        process.wait()
        seen += re.findall(r"resumed at step (\d+)", log.read_text())
    log = tmp_path / "log"
    finish(start(config, corpus, run, log=log), log)
    assert len(set(seen)) >= 2  # it came forward between the kills
    assert_equal(last_step(run), last_step(undisturbed[0]))
    scores = [json.loads((folder / "validation.json").read_text()) for folder in (run, undisturbed[0])]
    assert sorted(map(int, scores[0])) == [8, 16, 24]
    for step, values in scores[1].items():  # ESTOI alone is not exact: its package adds a little noise
        assert scores[0][step] == pytest.approx(values, rel=1e-9)


def test_a_run_that_is_told_to_stop_saves_and_can_be_gone_on_with(undisturbed, config, corpus, tmp_path):
    """First by SIGTERM, then by Ctrl-C; meanwhile no second process gets in."""
    run, step = tmp_path / "run", 0
    for number in (signal.SIGTERM, signal.SIGINT):
        log, other = tmp_path / f"log-{number}", tmp_path / f"other-{number}"
        process = start(config, corpus, run, "--config.checkpoints.every=1000", log=log)
        wait_for(lambda: f"step {step + 3}/24" in log.read_text(), process)  # noqa: B023
        if number == signal.SIGTERM:
            second = start(config, corpus, run, log=other)
            assert second.wait(timeout=120) == 1
            assert f"is in use by process {process.pid} on " in " ".join(other.read_text().split())
        process.send_signal(number)
        words = finish(process, log)
        assert f"resumed at step {step} " in words or not step
        stopped = next(line for line in words.splitlines() if "stopped at step" in line)
        assert stopped.startswith(number.name)
        step = int(stopped.split("stopped at step ")[1].split(";")[0])
        assert step < 24
        assert last_step(run)["step"] == step
    log = tmp_path / "log"
    words = finish(start(config, corpus, run, log=log), log)
    assert f"resumed at step {step} " in words
    assert_equal(last_step(run), last_step(undisturbed[0]))
