"""rosecd_jax.training.profile: traces of tiny runs, read with JAX and as bytes."""

import dataclasses
import re
import signal

import jax
import pytest

from rosecd_jax.data.loader import LoaderConfig
from rosecd_jax.data.pairs import DataError
from rosecd_jax.diffusion import Preconditioning
from rosecd_jax.models import ModelConfig, NCSNppConfig
from rosecd_jax.training import CheckpointConfig, TrainConfig, ValidationConfig, train
from rosecd_jax.training import loop as module

NETWORK = NCSNppConfig(channels=4, multipliers=(1, 1), blocks=1, attention_heights=())
SCOPES = {
    *("student", "teacher_step", "target", "consistency", "pesq", "si_sdr", "analyze", "synthesize"),
    *("optimizer", "moving_average", "NCSNpp", "down_0_block_0"),
}


@pytest.fixture(scope="module")
def config(corpus):
    return TrainConfig(
        model=ModelConfig(network=NETWORK),
        data=LoaderConfig(path=str(corpus), frames=16, batch_size=2),
        validation=ValidationConfig(every=0),
        checkpoints=CheckpointConfig(every=100),
        steps=5,
        log_every=1,
    )


@pytest.fixture(scope="module")
def teacher(config, tmp_path_factory):
    """A run of five steps, of which the third and fourth are profiled, and its lines."""
    workdir, lines = tmp_path_factory.mktemp("teacher"), []
    train(dataclasses.replace(config, profile="3:5"), workdir, lines.append)
    return workdir, lines


def traces(workdir):
    return sorted((workdir / "profile").rglob("*.xplane.pb"))


def events(file):
    """Events of a trace: (name, their numbers and words)."""
    planes = jax.profiler.ProfileData.from_file(str(file)).planes
    return [
        (event.name, dict(event.stats)) for plane in planes for line in plane.lines for event in line.events
    ]


def steps(file):
    return [int(words["step_num"]) for name, words in events(file) if name == "train"]


def run_of(lines, words):
    return [line for line in lines if words in line]


def test_the_steps_of_the_range_are_traced_and_no_others(teacher):
    workdir, lines = teacher
    (file,) = traces(workdir)
    assert steps(file) == [3, 4]
    found = events(file)
    assert sum(name == "wait for data" for name, _ in found) == 2
    of_programs = {words["hlo_module"] for _, words in found if "hlo_op" in words}
    assert {"jit_add_gradient", "jit_apply"} <= of_programs
    # Device work of the last step is complete: as many updates as steps.
    updates = {words["run_id"] for _, words in found if words.get("hlo_module") == "jit_apply"}
    assert len(updates) == 2
    assert run_of(lines, "profile") == [
        f"profile of steps 3 to 4: {workdir}/profile; to open it: pip install xprof; "
        f"xprof --logdir={workdir}/profile"
    ]
    position = lines.index(run_of(lines, "profile")[0])
    assert [line.split()[1] for line in lines[position - 1 : position + 2 : 2]] == ["4/5", "5/5"]


def test_the_operations_of_a_student_carry_names_that_a_reader_knows(teacher, config, tmp_path):
    """The range goes beyond the run, which ends the trace."""
    student = dataclasses.replace(
        config,
        objective="distillation",
        teacher=str(teacher[0]),
        model=ModelConfig(role="student", network=NETWORK, preconditioning=Preconditioning(c_in="1")),
        data=dataclasses.replace(config.data, frames=48),
        steps=2,
        profile="2:10",
    )
    lines = []
    train(student, tmp_path, lines.append)
    (file,) = traces(tmp_path)
    assert steps(file) == [2]
    assert run_of(lines, "profile of steps 2 to 2: ")
    names = set(re.findall(rb"jit\((?:add_gradient|apply)\)/[ -~]+", file.read_bytes()))
    parts = {part for name in names for part in re.split(r"[/()]", name.decode())}
    assert parts >= SCOPES
    assert any(b"transpose(jvp(pesq))" in name for name in names)  # of the gradient
    assert not any(b"transpose(jvp(target))" in name for name in names)


def test_a_resumed_run_past_the_range_says_so_and_one_within_it_traces_the_rest(teacher, config, tmp_path):
    lines = []
    train(dataclasses.replace(config, steps=3), tmp_path, lines.append)
    assert not run_of(lines, "profile")
    train(dataclasses.replace(config, profile="2:4", steps=3), tmp_path, lines.append)
    assert run_of(lines, "profile") == ["no profile: steps 2 to 3 are past, the run is at step 3"]
    train(dataclasses.replace(config, profile="2:5", steps=4, peak_tflops=1.0), tmp_path, lines.append)
    (file,) = traces(tmp_path)
    assert steps(file) == [4]


def test_a_run_that_is_stopped_within_the_range_writes_the_trace_before_its_checkpoint(config, tmp_path):
    lines = []

    def stop(line):
        lines.append(line)
        if line.startswith("step 3/"):
            signal.raise_signal(signal.SIGTERM)

    train(dataclasses.replace(config, profile="2:100", steps=100), tmp_path, stop)
    (file,) = traces(tmp_path)
    assert steps(file) == [2, 3]
    assert [line.split(":")[0] for line in lines[-2:]] == ["profile of steps 2 to 3", "SIGTERM"]
    found = [words for _, words in events(file) if words.get("hlo_module") == "jit_apply"]
    assert len({words["run_id"] for words in found}) == 2  # both updates are in the trace


def test_a_run_that_fails_within_the_range_keeps_its_trace(config, tmp_path, monkeypatch):
    taken = module.Run.next_batches

    def fail(run):
        if run.number == 3:
            raise DataError("damaged")
        return taken(run)

    monkeypatch.setattr(module.Run, "next_batches", fail)
    lines = []
    with pytest.raises(DataError, match="damaged"):
        train(dataclasses.replace(config, profile="2:100", steps=100), tmp_path, lines.append)
    (file,) = traces(tmp_path)
    assert steps(file) == [2, 3, 4]  # the fourth was begun
    assert run_of(lines, "profile of steps 2 to 3")


def test_a_profile_that_cannot_be_written_does_not_end_the_run(config, tmp_path):
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0
    jax.profiler.start_trace(tmp_path / "another", profiler_options=options)
    try:
        lines = []
        state = train(dataclasses.replace(config, profile="1:2", steps=2), tmp_path, lines.append)
    finally:
        jax.profiler.stop_trace()
    assert state.step == 2
    assert len(run_of(lines, "no profile: ")) == 1
    assert not traces(tmp_path)
    assert not jax.config.jax_compilation_cache_include_metadata_in_key  # as before
