"""rosecd_jax.training.devices: eight virtual devices, two processes, and what must not depend on them."""

import os
import re
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest

from rosecd_jax.training.devices import (
    check_batch,
    join_processes,
    make_mesh,
    state_shardings,
)
from tests.helpers import free_port
from tests.training.runs import ROOT, assert_equal, finish, last_step, start

pytestmark = pytest.mark.slow

EIGHT = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8"}


@pytest.fixture(scope="module")
def measured(config, corpus, tmp_path_factory):
    """Losses and gradients on one device, on eight, and on eight with the state divided."""
    folder = tmp_path_factory.mktemp("measured")

    def measure(name, environment, *overrides):
        size = ["--config.data.batch_size=8", "--config.model.network.channels=8"]
        words = [str(config), str(corpus), str(folder / f"{name}.npz"), *size, *overrides]
        command = [sys.executable, "-m", "tests.training.check_devices", *words]
        subprocess.run(command, check=True, cwd=ROOT, env=os.environ | environment, timeout=300)
        with np.load(folder / f"{name}.npz") as file:
            return dict(file)

    return {
        "one": measure("one", {}),
        "eight": measure("eight", EIGHT),
        "fsdp": measure("fsdp", EIGHT, "--config.sharding=fsdp"),
    }


@pytest.mark.parametrize("name", ["eight", "fsdp"])
def test_losses_and_gradients_do_not_depend_on_the_devices(measured, name):
    one, many = measured["one"], measured[name]
    np.testing.assert_allclose(many["losses"], one["losses"], rtol=1e-5)
    assert np.ptp(one["losses"]) > 0
    largest = max(np.abs(one[leaf]).max() for leaf in one if leaf != "losses")
    for leaf in one.keys() - {"losses"}:
        scale = max(np.abs(one[leaf]).max(), 1e-6 * largest)  # some are zero but for rounding
        assert np.abs(many[leaf] - one[leaf]).max() < 1e-4 * scale, leaf


def start_two(config, corpus, workdir, folder, *overrides):
    """Two processes that train together; their logs are folder/log-0 and folder/log-1."""
    port = free_port()
    return [
        start(
            config,
            corpus,
            workdir,
            *overrides,
            log=folder / f"log-{number}",
            JAX_COORDINATOR_ADDRESS=f"localhost:{port}",
            JAX_NUM_PROCESSES="2",
            JAX_PROCESS_ID=str(number),
        )
        for number in range(2)
    ]


def test_two_processes_train_and_resume_together(config, corpus, tmp_path):
    whole = ["--config.sharding=fsdp", "--config.validation.every=4", "--config.steps=6"]
    for process in start_two(config, corpus, tmp_path / "whole", tmp_path, *whole):
        finish(process, tmp_path / "log-0")
    told = (tmp_path / "log-0").read_text()
    assert "step 6/6" in told
    assert "validation at step 4" in told
    assert "step" not in (tmp_path / "log-1").read_text()  # one of them speaks for both

    for steps in (3, 6):
        words = ["--config.sharding=fsdp", "--config.validation.every=0", f"--config.steps={steps}"]
        for process in start_two(config, corpus, tmp_path / "cut", tmp_path, *words):
            finish(process, tmp_path / "log-0")
    assert "resumed at step 3" in (tmp_path / "log-0").read_text()
    assert_equal(last_step(tmp_path / "whole"), last_step(tmp_path / "cut"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_of_one_process_stops_both_after_the_same_step(number, config, corpus, tmp_path):
    log = tmp_path / "log-0"
    processes = start_two(config, corpus, tmp_path / "run", tmp_path, "--config.steps=100000")
    while "step 3/" not in log.read_text():
        assert processes[0].poll() is None, log.read_text()
    processes[1].send_signal(number)
    for process in processes:
        finish(process, log)
    step = int(re.findall(r"SIGTERM: stopped at step (\d+)", log.read_text())[0])
    assert last_step(tmp_path / "run")["step"] == step


def test_half_of_the_words_about_processes_are_refused(monkeypatch):
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "localhost:1")
    with pytest.raises(ValueError, match="JAX_NUM_PROCESSES=''"):
        join_processes()


def test_alone_nothing_is_joined(monkeypatch):
    for name in ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"):
        monkeypatch.delenv(name, raising=False)
    join_processes()
    assert jax.process_count() == 1


def test_a_batch_that_cannot_be_divided_is_refused_before_anything_is_read(config, corpus, tmp_path):
    mesh = jax.sharding.AbstractMesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    check_batch(16, mesh)
    with pytest.raises(ValueError, match=r"14, for all devices .* not a multiple of the 8 .* 8 or 16"):
        check_batch(14, mesh)
    with pytest.raises(ValueError, match=r"set it to 8$"):
        check_batch(6, mesh)
    log = tmp_path / "log"
    process = start(config, corpus, tmp_path / "run", "--config.data.batch_size=12", log=log, **EIGHT)
    assert process.wait(timeout=120) == 1
    assert "not a multiple of the 8 devices" in " ".join(log.read_text().split())
    assert not (tmp_path / "run").exists()


def test_the_longest_axis_that_can_be_is_divided():
    mesh = jax.sharding.AbstractMesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    shapes = [jax.ShapeDtypeStruct(shape, np.float32) for shape in ((3, 3, 16, 64), (64, 16), (6,), ())]
    divided = [s.spec for s in state_shardings(mesh, shapes, "fsdp")]
    assert divided == [jax.P(None, None, None, "data"), jax.P("data"), jax.P(), jax.P()]
    assert all(s.spec == jax.P() for s in state_shardings(mesh, shapes, "replicated"))
    assert make_mesh().axis_names == ("data",)
