"""rosecd_jax.models.checkpoint: a model on disk, and what can go wrong there."""

import dataclasses
import json
import os
import re
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import traverse_util

from rosecd_jax.models import ModelConfig, NCSNppConfig, ScoreModel
from rosecd_jax.models.checkpoint import CheckpointError, digest_of_weights, load_checkpoint, save_checkpoint
from tests.helpers import TINY, random_params

RAW, EMA = random_params(TINY, seed=1), random_params(TINY, seed=2)


def assert_same(one, two):
    assert jax.tree.structure(one) == jax.tree.structure(two)
    jax.tree.map(np.testing.assert_array_equal, one, two)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A checkpoint that no test may change."""
    return save_checkpoint(tmp_path_factory.mktemp("saved") / "model", TINY, {"raw": RAW, "ema": EMA})


@pytest.fixture
def copy(saved, tmp_path):
    """A checkpoint to break."""
    return shutil.copytree(saved, tmp_path / "copy")


@pytest.mark.parametrize(("weights", "expected"), [("raw", RAW), ("ema", EMA)])
def test_both_kinds_of_weights_come_back_bit_for_bit(saved, weights, expected):
    model, params = load_checkpoint(saved, weights)
    assert model == TINY
    assert_same(params, expected)


def test_ema_weights_are_what_one_gets(saved):
    assert_same(load_checkpoint(saved)[1], EMA)


def test_a_bare_tree_is_saved_as_ema(tmp_path):
    path = save_checkpoint(tmp_path / "deep" / "model", TINY, RAW)
    assert_same(load_checkpoint(path)[1], RAW)
    with pytest.raises(CheckpointError, match=r"holds no 'raw' weights; it has \['ema'\]"):
        load_checkpoint(path, "raw")


def test_the_config_comes_back(tmp_path):
    network = NCSNppConfig(channels=4, multipliers=(1, 2), blocks=1, attention_heights=(128,))
    model = ScoreModel(ModelConfig(role="student", network=network))
    assert load_checkpoint(save_checkpoint(tmp_path / "model", model, random_params(model)))[0] == model


def test_the_last_step_of_a_run_is_taken(tmp_path):
    for step, params in ((9, RAW), (10, EMA)):
        save_checkpoint(tmp_path / "checkpoints" / str(step), TINY, params)
    assert_same(load_checkpoint(tmp_path)[1], EMA)
    assert_same(load_checkpoint(tmp_path / "checkpoints" / "9")[1], RAW)


def test_an_existing_path_is_not_overwritten(copy):
    with pytest.raises(CheckpointError, match=f"{re.escape(str(copy))} exists"):
        save_checkpoint(copy, TINY, RAW)
    assert_same(load_checkpoint(copy)[1], EMA)


def test_overwrite_replaces_everything(copy):
    save_checkpoint(copy, TINY, RAW, overwrite=True)
    assert_same(load_checkpoint(copy)[1], RAW)
    assert not (copy / "raw").exists()


@pytest.mark.parametrize("name", ["thesis.txt", "config/thesis.txt", "checkpoints/9/ema/weights"])
def test_what_is_no_checkpoint_is_not_overwritten(tmp_path, name):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("mine")
    (tmp_path / "more.txt").write_text("mine")
    for target, words in ((tmp_path, "with more than a model's checkpoint"), (tmp_path / name, "is a file")):
        with pytest.raises(CheckpointError, match=words):
            save_checkpoint(target, TINY, RAW, overwrite=True)
    assert (tmp_path / name).read_text() == "mine"


def test_a_step_of_a_run_is_more_than_a_model(copy):
    (copy / "optimizer").mkdir()
    with pytest.raises(CheckpointError, match="holds 'optimizer'"):
        save_checkpoint(copy, TINY, RAW, overwrite=True)


def test_an_empty_or_damaged_directory_is_overwritten(tmp_path):
    (tmp_path / "model" / "config").mkdir(parents=True)
    assert_same(load_checkpoint(save_checkpoint(tmp_path / "model", TINY, RAW, overwrite=True))[1], RAW)


@pytest.mark.parametrize("params", [{}, {"ema": {}}, {"ema": RAW, "raw": {}}, {"raw": RAW}])
def test_no_weights_are_no_checkpoint(tmp_path, params):
    with pytest.raises(CheckpointError, match="model can't be written: weights are missing"):
        save_checkpoint(tmp_path / "model", TINY, params)
    assert not list(tmp_path.iterdir())


def test_nothing_temporary_is_left(tmp_path):
    save_checkpoint(tmp_path / "model", TINY, RAW)
    save_checkpoint(tmp_path / "model", TINY, EMA, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_failed_save_keeps_what_was_there_and_leaves_nothing_else(copy):
    unwritable = {"weight": object()}
    with pytest.raises(Exception):  # noqa: B017, PT011 -- whatever orbax raises
        save_checkpoint(copy, TINY, unwritable, overwrite=True)
    assert [path.name for path in copy.parent.iterdir()] == ["copy"]
    assert_same(load_checkpoint(copy)[1], EMA)


def test_an_overwrite_that_fails_at_its_end_keeps_the_old_one(copy, monkeypatch):
    replace = os.replace

    def broken(source, target):
        if Path(target) == copy and "-replaced" not in str(source):
            raise OSError("no more")
        replace(source, target)

    monkeypatch.setattr("rosecd_jax.atomic.os.replace", broken)
    with pytest.raises(OSError, match="no more"):
        save_checkpoint(copy, TINY, RAW, overwrite=True)
    monkeypatch.undo()
    assert [path.name for path in copy.parent.iterdir()] == ["copy"]
    assert_same(load_checkpoint(copy)[1], EMA)


def test_what_a_link_leads_to_is_overwritten(copy):
    link = copy.parent / "link"
    link.symlink_to(copy)
    assert save_checkpoint(link, TINY, RAW, overwrite=True) == link
    assert link.is_symlink()
    assert_same(load_checkpoint(copy)[1], RAW)


def test_a_missing_checkpoint_is_named(tmp_path):
    missing = tmp_path / "missing"
    with pytest.raises(
        CheckpointError, match=f"no checkpoint at {re.escape(str(missing))}: no such directory"
    ):
        load_checkpoint(missing)
    with pytest.raises(
        CheckpointError, match=f"no checkpoint at {re.escape(str(tmp_path))}: expected a model"
    ):
        load_checkpoint(tmp_path)


def test_unknown_weights_are_refused(saved):
    with pytest.raises(CheckpointError, match="weights='best'"):
        load_checkpoint(saved, "best")


def empty_weights(path):
    shutil.rmtree(path / "ema")
    (path / "ema").mkdir()


def cut_weights(path):
    for file in (path / "ema").rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def empty_config(path):
    shutil.rmtree(path / "config")
    (path / "config").mkdir()


def cut_config(path):
    for file in (path / "config").rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[:40])


def unknown_field(path):
    edit_config(path, '"channels"', '"chanels"')


def another_size(path):
    edit_config(path, '"channels":4', '"channels":8')


def another_kind(path):
    next((path / "config").glob("*")).write_text('{"model": [1]}')


def nested_deeply(path):
    next((path / "config").glob("*")).write_text("[" * 100_000)


def edit_config(path, old, new):
    files = [
        f for f in (path / "config").rglob("*") if f.is_file() and old in f.read_text().replace(": ", ":")
    ]
    assert files
    for file in files:
        file.write_text(file.read_text().replace(": ", ":").replace(old, new))


@pytest.mark.parametrize(
    "damage",
    [
        empty_weights,
        cut_weights,
        empty_config,
        cut_config,
        unknown_field,
        another_size,
        another_kind,
        nested_deeply,
    ],
)
def test_a_damaged_checkpoint_is_an_error_that_names_it(copy, damage):
    damage(copy)
    with pytest.raises(CheckpointError, match=re.escape(str(copy))):
        load_checkpoint(copy)


def flip_a_bit(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def halve(file):
    os.truncate(file, file.stat().st_size // 2)


@pytest.mark.parametrize("damage", [Path.unlink, halve, flip_a_bit])
def test_a_checkpoint_with_any_file_lost_or_damaged_is_refused_or_complete(copy, damage):
    """As a copy that was interrupted, or left out names that begin with an underscore."""
    loaded, refused = set(), []
    for file in [path for path in copy.rglob("*") if path.is_file()]:
        content = file.read_bytes()
        damage(file)
        try:
            assert_same(load_checkpoint(copy)[1], EMA)
            loaded.add(file.name)
        except CheckpointError as error:
            refused.append(str(error))
        file.write_bytes(content)
    assert all(str(copy) in error for error in refused)
    assert "_CHECKPOINT_METADATA" in loaded
    assert damage == flip_a_bit or "metadata" not in loaded


def test_weights_that_are_not_those_of_the_digest_are_refused(copy):
    metadata = copy / "config" / "metadata"
    stored = json.loads(metadata.read_text())
    stored["digests"]["ema"] = digest_of_weights(RAW)
    metadata.write_text(json.dumps(stored))
    load_checkpoint(copy, "raw")
    with pytest.raises(CheckpointError, match="'ema' weights are damaged"):
        load_checkpoint(copy)
    del stored["digests"]  # as in checkpoints of older versions
    metadata.write_text(json.dumps(stored))
    assert_same(load_checkpoint(copy)[1], EMA)


@pytest.mark.parametrize(("part", "name"), [("front_end", "sample_rate"), ("sde", "gamma")])
def test_a_config_that_is_not_that_of_the_digest_is_refused(copy, part, name):
    metadata = copy / "config" / "metadata"
    stored = json.loads(metadata.read_text())
    stored["model"][part][name] += 1
    metadata.write_text(json.dumps(stored))
    with pytest.raises(CheckpointError, match="its config was damaged or edited after it was saved"):
        load_checkpoint(copy)


@pytest.mark.parametrize("network", [{"channels": 8}, {"multipliers": (1, 1, 1)}], ids=["wider", "deeper"])
def test_weights_of_another_network_are_an_error_that_names_the_path(tmp_path, network):
    other = ScoreModel(ModelConfig(network=dataclasses.replace(TINY.config.network, **network)))
    path = save_checkpoint(tmp_path / "model", other, random_params(other))
    shutil.rmtree(path / "config")
    shutil.copytree(save_checkpoint(tmp_path / "tiny", TINY, RAW) / "config", path / "config")
    words = rf"{re.escape(str(path))}.*(parameter|shape|weights can't be read)"
    with pytest.raises(CheckpointError, match=words):
        load_checkpoint(path)


def changed(params, change):
    flat = {**traverse_util.flatten_dict(params)}
    change(flat, sorted(flat))
    return traverse_util.unflatten_dict(flat)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda flat, names: flat.pop(names[3]), r"is missing \(1 in all\)"),
        (lambda flat, names: flat.update({("other",): np.zeros(3)}), r"is not the model's \(1 in all\)"),
        (lambda flat, names: flat.update({names[0]: np.zeros(77)}), r"is \(77,\), the config requires"),
    ],
    ids=["incomplete", "foreign", "misshapen"],
)
@pytest.mark.parametrize("name", ["raw", "ema"])
def test_weights_that_could_not_be_loaded_are_refused_when_they_are_saved(tmp_path, change, words, name):
    weights = {"raw": RAW, "ema": EMA} | {name: changed(RAW, change)}
    words = rf"can't be written: of its '{name}' weights parameter .* {words}"
    with pytest.raises(CheckpointError, match=words):
        save_checkpoint(tmp_path / "model", TINY, weights)
    assert not list(tmp_path.iterdir())
