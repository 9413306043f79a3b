"""rosecd_jax.training: runs on real files learn, resume, and refuse what does not fit."""

import dataclasses
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest

from rosecd_jax import load_checkpoint
from rosecd_jax.audio import io
from rosecd_jax.conversion import save_torch_checkpoint
from rosecd_jax.data.loader import LoaderConfig
from rosecd_jax.data.mixing import MixConfig
from rosecd_jax.data.pairs import DataError
from rosecd_jax.diffusion import Preconditioning
from rosecd_jax.losses import ConsistencyTrainingConfig, DistillationConfig
from rosecd_jax.models import ModelConfig, NCSNppConfig, ScoreModel
from rosecd_jax.models.checkpoint import CheckpointError
from rosecd_jax.training import (
    CheckpointConfig,
    OptimizerConfig,
    TrainConfig,
    TrainingStopped,
    ValidationConfig,
    train,
)
from rosecd_jax.training.checkpoints import RunCheckpoints
from rosecd_jax.training.devices import make_mesh
from rosecd_jax.training.loop import load_teacher, open_data
from rosecd_jax.training.status import Status
from rosecd_jax.training.step import Waves, make_step

NETWORK = NCSNppConfig(channels=4, multipliers=(1, 1), blocks=1, attention_heights=())
RATE = 16_000


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    generator = np.random.default_rng(0)
    for k in range(4):
        clean = 0.2 * np.sin(np.arange(9_000) / (5 + k)) * (generator.random(9_000) > 0.2)
        for side, noise in (("clean", 0.0), ("noisy", 0.05)):
            wave = clean + noise * generator.normal(size=clean.size)
            io.write(folder / "train" / side / f"{k}.wav", wave, RATE, subtype="FLOAT")
    return folder


@pytest.fixture(scope="module")
def config(corpus):
    return TrainConfig(
        model=ModelConfig(network=NETWORK),
        data=LoaderConfig(path=str(corpus), frames=16, batch_size=2),
        optimizer=OptimizerConfig(learning_rate=3e-3),
        validation=ValidationConfig(every=0),
        checkpoints=CheckpointConfig(every=2, keep_last=2),
        steps=6,
        log_every=2,
    )


def quiet(_):
    pass


@pytest.fixture(scope="module")
def finished(config, tmp_path_factory):
    workdir, lines = tmp_path_factory.mktemp("run"), []
    return train(config, workdir, lines.append), workdir, lines


def assert_same(left, right):
    pairs = zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    for a, b in pairs:
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        np.testing.assert_array_equal(a, b)


def test_a_run_leaves_weights_curves_and_lines(finished):
    state, workdir, lines = finished
    assert state.step == 6
    steps = [line for line in lines if line.startswith("step ")]
    assert [line.split()[1] for line in steps] == ["2/6", "4/6", "6/6"]
    assert all("loss" in line and "learning rate 0.003" in line for line in steps)
    assert "examples/s" in steps[-1]
    assert "s of audio/s" in steps[-1]
    assert sum(line.startswith("first step: ") for line in lines) == 1
    assert list((workdir / "tensorboard").glob("events.out.tfevents.*"))
    assert sorted(p.name for p in (workdir / "checkpoints").iterdir()) == ["4", "6"]
    for weights, expected in (("raw", state.params), ("ema", state.ema)):
        _, params = load_checkpoint(workdir, weights)
        assert_same(params, expected)


def test_a_run_cut_in_two_ends_with_the_very_same_state(finished, config, tmp_path):
    train(dataclasses.replace(config, steps=3), tmp_path, quiet)
    lines = []
    state = train(config, tmp_path, lines.append)
    assert any(line.startswith("resumed at step 3") for line in lines)
    assert_same(state, finished[0])


def test_a_finished_run_is_left_as_it_is(finished, config):
    state, workdir, _ = finished
    assert_same(train(config, workdir, quiet), state)


def test_accumulated_batches_make_one_update_from_the_mean_of_their_gradients(config):
    """Seen in Adam's first moment: from the weights, Adam divides a gradient's length out."""
    config = dataclasses.replace(config, optimizer=OptimizerConfig(learning_rate=3e-3, accumulate=2))
    model = ScoreModel(config.model)
    step = make_step(config, model, None, make_mesh())
    params = jax.device_get(model.init(jax.random.key(0)))
    generator = np.random.default_rng(0)
    batches = [
        Waves(*generator.normal(size=(2, 2, model.front_end.samples(16))).astype(np.float32)) for _ in "ab"
    ]

    def start():
        return step.init(params, np.zeros(2, np.uint32))

    alone = []
    for i, batch in enumerate(batches):
        state = start()
        alone.append(step.add_gradient(step.zeros(state.params), state, {}, batch, jnp.int32(i)))
    mean = jax.tree.map(lambda a, b: np.asarray(a + b) / 2, alone[0][0], alone[1][0])
    loss = (alone[0][1]["loss"] + alone[1][1]["loss"]) / 2
    state, metrics = step(start(), {}, batches)
    assert (state.step, state.opt_state[0][0].count) == (1, 1)
    assert metrics["loss"] == pytest.approx(float(loss), rel=1e-6)
    assert metrics["gradient_norm"] == pytest.approx(float(optax.tree.norm(mean)), rel=1e-5)
    for moment, gradient in zip(
        jax.tree.leaves(state.opt_state[0][0].mu), jax.tree.leaves(mean), strict=True
    ):
        np.testing.assert_allclose(moment, 0.1 * gradient, rtol=1e-4, atol=1e-7 * np.abs(gradient).max())


def test_a_resumed_run_of_another_config_is_refused_with_the_difference(finished, config):
    other = dataclasses.replace(config, optimizer=OptimizerConfig(learning_rate=1e-3))
    with pytest.raises(ValueError, match=r"(?s)resume_override=True.*learning_rate: 0\.003 -> 0\.001"):
        train(other, finished[1], quiet)


def test_a_resumed_run_of_another_config_goes_on_where_that_is_asked_for(finished, config, tmp_path):
    shutil.copytree(finished[1] / "checkpoints", tmp_path / "checkpoints")
    optimizer, lines = OptimizerConfig(learning_rate=1e-3), []
    other = dataclasses.replace(config, optimizer=optimizer, resume_override=True, steps=7)
    state = train(other, tmp_path, lines.append)
    assert any(line.startswith("resumed at step 6") for line in lines)
    assert state.step == 7


@pytest.mark.slow
def test_a_run_that_lacks_memory_goes_on_with_less(finished, config, tmp_path):
    shutil.copytree(finished[1] / "checkpoints", tmp_path / "checkpoints")
    model = dataclasses.replace(config.model, network=dataclasses.replace(NETWORK, remat=True))
    lines = []
    sparing = dataclasses.replace(config, model=model, sharding="fsdp", steps=7)
    assert train(sparing, tmp_path, lines.append).step == 7
    assert any(line.startswith("resumed at step 6") for line in lines)


def test_a_resumed_run_of_other_recordings_is_refused(finished, config, tmp_path):
    shutil.copytree(config.data.path, tmp_path / "copy")
    moved = dataclasses.replace(config, data=dataclasses.replace(config.data, path=str(tmp_path / "copy")))
    train(moved, finished[1], quiet)  # nothing to do, but nothing to complain of
    for side in ("clean", "noisy"):
        min((tmp_path / "copy" / "train" / side).iterdir()).unlink()
    with pytest.raises(ValueError, match=r"began with other recordings .*--config\.resume_override=True"):
        train(moved, finished[1], quiet)
    train(dataclasses.replace(moved, resume_override=True), finished[1], quiet)


@pytest.fixture(scope="module")
def student_config(config, finished):
    return dataclasses.replace(
        config,
        objective="distillation",
        teacher=str(finished[1]),
        model=ModelConfig(role="student", network=NETWORK, preconditioning=Preconditioning(c_in="1")),
        distillation=DistillationConfig(pesq_weight=0.0, si_sdr_weight=1e-3),
        steps=2,
    )


def test_a_student_starts_from_its_teachers_raw_weights(student_config, finished, tmp_path):
    frozen = dataclasses.replace(student_config, optimizer=OptimizerConfig(learning_rate=0.0))
    state = train(frozen, tmp_path, quiet)
    assert_same(state.params, finished[0].params)


def test_settings_that_do_not_do_what_they_say_are_logged(config):
    optimizer = dataclasses.replace(config.optimizer, warmup_steps=config.steps)
    mix, split = dataclasses.replace(config.data, mix=MixConfig(snr=(0.0, 5.0))), config.data.split
    for fields, words in [
        ({"data": mix}, "data.path holds pairs, which are already mixed: data.mix is not used"),
        ({"optimizer": optimizer}, "the learning rate doesn't reach its value"),
        ({"validation": ValidationConfig(every=1, files=1, split=split)}, "for training and for validation"),
        ({}, ""),
    ]:
        lines = []
        open_data(dataclasses.replace(config, **fields), ScoreModel(config.model), Status(lines.append))
        assert [words in line for line in lines if "opening" not in line] == [True] * bool(words)


@pytest.mark.slow
def test_a_student_moves_and_says_its_terms(student_config, finished, tmp_path):
    lines = []
    state = train(student_config, tmp_path, lines.append)
    moved = [
        not np.array_equal(a, b)
        for a, b in zip(jax.tree.leaves(state.params), jax.tree.leaves(finished[0].params), strict=True)
    ]
    assert sum(moved) > len(moved) / 2
    assert "consistency" in lines[-1]
    assert "si_sdr" in lines[-1]
    assert "pesq" not in lines[-1]
    model, _ = load_checkpoint(tmp_path)
    assert model.config.role == "student"
    shutil.copytree(finished[1] / "checkpoints", tmp_path / "other" / "checkpoints")
    shutil.rmtree(tmp_path / "other" / "checkpoints" / "6")
    other = dataclasses.replace(student_config, teacher=str(tmp_path / "other"))
    with pytest.raises(ValueError, match=r"began with another teacher \(config.teacher\)"):
        train(other, tmp_path, quiet)


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["distillation", "consistency-training"])
def test_a_teacher_may_be_one_of_the_authors_files(objective, student_config, finished, tmp_path):
    model, raw = load_checkpoint(finished[1], "raw")
    _, ema = load_checkpoint(finished[1], "ema")
    file = save_torch_checkpoint(tmp_path / "teacher.ckpt", model, {"raw": raw, "ema": ema})
    distilled = dataclasses.replace(
        student_config,
        objective=objective,
        teacher=str(file),
        consistency_training=ConsistencyTrainingConfig(pesq_weight=0.0),
    )
    teacher, frozen, params = load_teacher(distilled)
    assert_same(params, raw)
    assert_same(frozen, ema if objective == "distillation" else {})
    assert teacher == (model if objective == "distillation" else None)


def test_a_teacher_of_another_size_is_refused_before_training(student_config, tmp_path):
    network = dataclasses.replace(NETWORK, channels=8)
    other = dataclasses.replace(
        student_config, model=dataclasses.replace(student_config.model, network=network)
    )
    with pytest.raises(ValueError, match=r"network\.channels: 4 -> 8"):
        train(other, tmp_path / "run", quiet)
    assert not (tmp_path / "run").exists()


def test_a_missing_teacher_is_refused_before_training(student_config, tmp_path):
    other = dataclasses.replace(student_config, teacher=str(tmp_path / "nowhere"))
    with pytest.raises(CheckpointError, match="nowhere"):
        train(other, tmp_path / "run", quiet)
    assert not (tmp_path / "run").exists()


def test_missing_data_is_refused_before_training(config, tmp_path):
    other = dataclasses.replace(config, data=dataclasses.replace(config.data, path=str(tmp_path)))
    with pytest.raises(DataError, match="train"):
        train(other, tmp_path / "run", quiet)
    assert not (tmp_path / "run").exists()


def test_the_stored_config_is_the_runs(finished, config):
    with RunCheckpoints(finished[1], config) as checkpoints:
        assert checkpoints.latest == 6
        checkpoints.check_resumable()


def test_a_run_that_is_not_finite_stops_with_its_last_checkpoint_intact(config, finished, tmp_path):
    """A learning rate that makes the weights overflow; steps are skipped, counted, and then enough."""
    shutil.copytree(finished[1] / "checkpoints", tmp_path / "checkpoints")
    optimizer = OptimizerConfig(learning_rate=1e30, skips_in_a_row=3)
    broken = dataclasses.replace(
        config, steps=100, optimizer=optimizer, resume_override=True, checkpoints=CheckpointConfig(every=1000)
    )
    lines = []
    with pytest.raises(TrainingStopped, match=r"not finite \d+ times in a row, up to step \d+"):
        train(broken, tmp_path, lines.append)
    assert "steps skipped so far" in lines[-1]
    _, params = load_checkpoint(tmp_path, "raw")
    assert_same(params, finished[0].params)


@pytest.mark.slow
@pytest.mark.parametrize("steps", [7, 8])
def test_weights_that_overflow_are_not_saved_over_the_last_good_ones(steps, config, finished, tmp_path):
    """The run ends before it has to stop: on the step that overflows, and one later."""
    shutil.copytree(finished[1] / "checkpoints", tmp_path / "checkpoints")
    broken = dataclasses.replace(
        config,
        steps=steps,
        optimizer=OptimizerConfig(learning_rate=1e38, skips_in_a_row=3),
        checkpoints=CheckpointConfig(every=1, keep_last=1),
        resume_override=True,
    )
    lines = []
    state = train(broken, tmp_path, lines.append)
    assert [line for line in lines if line.startswith("no checkpoint at step")] == [
        f"no checkpoint at step {step}: the step was skipped as not finite" for step in range(7, steps)
    ]
    assert (state.step, state.skipped) == (steps, steps - 6)  # the last state is there all the same
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == [str(steps)]
    for weights, expected in (("raw", finished[0].params), ("ema", finished[0].ema)):
        assert_same(load_checkpoint(tmp_path, weights)[1], expected)


@pytest.mark.slow
def test_a_run_that_overflows_at_once_says_so_and_leaves_no_checkpoint(config, tmp_path):
    optimizer = OptimizerConfig(learning_rate=1e38, skips_in_a_row=2)
    broken = dataclasses.replace(config, optimizer=optimizer, checkpoints=CheckpointConfig(every=1))
    with pytest.raises(TrainingStopped, match=r"not finite 2 times in a row, up to step 2; Try a lower"):
        train(broken, tmp_path, quiet)
    assert not list((tmp_path / "checkpoints").iterdir())


@pytest.mark.slow
def test_a_run_can_go_on_with_clipped_gradients(finished, config, tmp_path):
    """What the message of a run that was not finite advises."""
    shutil.copytree(finished[1] / "checkpoints", tmp_path / "checkpoints")
    optimizer = OptimizerConfig(learning_rate=3e-3, gradient_clip=1.0)
    clipped = dataclasses.replace(config, optimizer=optimizer, resume_override=True, steps=7)
    assert train(clipped, tmp_path, quiet).step == 7


@pytest.mark.slow
@pytest.mark.parametrize("item", ["optimiser", "config/metadata"])
def test_a_damaged_last_checkpoint_is_refused_with_the_way_out(item, finished, config, tmp_path):
    shutil.copytree(finished[1] / "checkpoints", tmp_path / "checkpoints")
    last = tmp_path / "checkpoints" / "6"
    shutil.rmtree(last / item) if (last / item).is_dir() else (last / item).unlink()
    with pytest.raises(ValueError, match=r"checkpoints/6 cannot be read.* resumes from step 4"):
        train(config, tmp_path, quiet)
    last.rename(tmp_path / "damaged")  # as the message says
    lines = []
    assert_same(train(config, tmp_path, lines.append), finished[0])
    assert any(line.startswith("resumed at step 4") for line in lines)


def test_a_run_of_another_optimizer_is_called_that(finished, config, tmp_path):
    shutil.copytree(finished[1] / "checkpoints", tmp_path / "checkpoints")
    optimizer = tmp_path / "checkpoints" / "6" / "optimiser"
    shutil.rmtree(optimizer)
    with ocp.PyTreeCheckpointer() as checkpointer:
        checkpointer.save(optimizer, {"momentum": np.zeros(3)})
    with pytest.raises(ValueError, match=r"made with another optimizer: --config\.init_from takes them"):
        train(config, tmp_path, quiet)


def test_what_a_killed_run_was_writing_is_cleared_away(finished, config, tmp_path):
    shutil.copytree(finished[1] / "checkpoints", tmp_path / "checkpoints")
    (tmp_path / "checkpoints" / "5.orbax-checkpoint-tmp").mkdir()
    train(config, tmp_path, quiet)
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["4", "6"]


@pytest.mark.parametrize(
    ("file", "workdir", "words"),
    [
        ("validation.json", "", r"validation\.json cannot be read .* delete it"),
        ("checkpoints", "", r"checkpoints is not a folder; move it"),
        ("file", "file", r"file: cannot be written .* choose another --workdir"),
    ],
)
def test_a_file_in_the_way_is_refused_with_the_way_out(file, workdir, words, config, tmp_path):
    (tmp_path / file).write_text("")
    with pytest.raises(ValueError, match=words):
        train(config, tmp_path / workdir, quiet)


@pytest.mark.slow
def test_a_damaged_recording_ends_the_run_with_what_was_learnt_saved(config, corpus, tmp_path):
    folder = tmp_path / "corpus"
    shutil.copytree(corpus, folder)
    for k in range(4):  # flac: its header promises samples that are not there
        wave = io.read(folder / "train" / "noisy" / f"{k}.wav").wave
        for side in ("clean", "noisy"):
            (folder / "train" / side / f"{k}.wav").unlink()
            io.write(folder / "train" / side / f"{k}.flac", wave, RATE)
    data = dataclasses.replace(config.data, path=str(folder))
    long = dataclasses.replace(config, data=data, steps=10_000, checkpoints=CheckpointConfig(every=10_000))

    def damage(line):
        for file in (folder / "train" / "noisy").iterdir():
            file.write_bytes(file.read_bytes()[:2000])

    with pytest.raises(DataError, match=r"noisy/\d\.flac"):
        train(long, tmp_path / "run", damage)
    assert load_checkpoint(tmp_path / "run", "raw")
