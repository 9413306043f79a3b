"""rosecd convert, rosecd info, and rosecd enhance with a checkpoint of the authors."""

import numpy as np
import pytest
from typer.testing import CliRunner

from rosecd_jax.audio import io
from rosecd_jax.cli import app
from rosecd_jax.conversion.torch_file import read_torch_file
from tests.helpers import FIXTURES

TINY = str(FIXTURES / "tiny_student.ckpt")


def rosecd(*words):
    return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    path = tmp_path_factory.mktemp("converted") / "ours"
    done = rosecd("convert", TINY, path)
    assert done.exit_code == 0, done.output
    assert "(student; raw and ema weights; consistency, 1 step)" in done.output.replace("\n", "")
    return path


def test_a_packaged_model_is_converted_by_its_name(tmp_path):
    done = rosecd("convert", "small", tmp_path / "x.ckpt")
    assert done.exit_code == 0, done.output
    arrays = [tensor.read() for tensor in read_torch_file(tmp_path / "x.ckpt")["state_dict"].values()]
    assert sum(array.size for array in arrays) >= 746_598


def test_there_and_back(ours, tmp_path):
    assert rosecd("convert", ours, tmp_path / "x.ckpt").exit_code == 0
    before, after = read_torch_file(TINY)["state_dict"], read_torch_file(tmp_path / "x.ckpt")["state_dict"]
    assert all(np.array_equal(after[name].read(), tensor.read()) for name, tensor in before.items())


def test_nothing_is_replaced_unless_told(ours, tmp_path):
    (tmp_path / "x.ckpt").write_text("mine")
    done = rosecd("convert", ours, tmp_path / "x.ckpt")
    assert done.exit_code == 1
    assert "--overwrite" in done.output
    assert (tmp_path / "x.ckpt").read_text() == "mine"
    assert rosecd("convert", ours, tmp_path / "x.ckpt", "--overwrite").exit_code == 0
    assert rosecd("convert", TINY, ours).exit_code == 1
    assert rosecd("convert", TINY, ours, "--overwrite").exit_code == 0


def test_a_folder_that_is_no_checkpoint_is_not_replaced_even_so(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    done = rosecd("convert", TINY, tmp_path, "--overwrite")
    assert done.exit_code == 1
    assert "more than a model's checkpoint: it holds 'thesis.txt'" in " ".join(done.output.split())
    assert (tmp_path / "thesis.txt").exists()


def test_a_directory_is_not_given_the_name_of_a_file(tmp_path):
    done = rosecd("convert", TINY, tmp_path / "x.ckpt")
    assert done.exit_code == 1
    assert "a converted checkpoint is a directory" in done.output
    assert not (tmp_path / "x.ckpt").exists()


def test_a_place_that_cannot_be_written_is_an_error_in_one_line(tmp_path):
    (tmp_path / "file").write_text("mine")
    done = rosecd("convert", TINY, tmp_path / "file" / "out")
    assert done.exit_code == 1
    assert "Traceback" not in done.output
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("source", ["nowhere", "broken.ckpt"])
def test_a_source_that_cannot_be_read_leaves_nothing(tmp_path, source):
    (tmp_path / "broken.ckpt").write_bytes(b"PK\3\4 and no more")
    done = rosecd("convert", tmp_path / source, tmp_path / "out")
    assert done.exit_code == 1
    assert source in done.output
    assert not (tmp_path / "out").exists()


def test_info_tells_the_same_of_either_kind(ours):
    theirs, own = rosecd("info", TINY), rosecd("info", ours)
    assert theirs.exit_code == own.exit_code == 0
    assert "PyTorch" in theirs.output
    assert "rosecd_jax checkpoint" in own.output
    for line in theirs.output.splitlines():
        if not line.startswith(("path", "kind", "training step")):
            assert line in own.output.splitlines()
    for words in ("student", "3,098", "OUVE", "16000 Hz", "ema, raw"):
        assert words in own.output
    assert "training step:   0" in theirs.output


def test_info_lists_parameters(ours):
    words = rosecd("info", ours, "--parameters").output
    assert "down_0_block_0" in words
    assert "kernel (3, 3, 4, 4)" in words


def test_info_says_what_is_wrong(tmp_path):
    (tmp_path / "x.txt").write_text("hello")
    done = rosecd("info", tmp_path / "x.txt")
    assert done.exit_code == 1
    assert "not a PyTorch file (no zip archive); give a .ckpt" in " ".join(done.output.split())


def test_enhance_with_a_checkpoint_of_theirs(tmp_path):
    noise = np.random.default_rng(0).normal(scale=0.1, size=4000)
    io.write(tmp_path / "in.wav", noise, 16_000)
    done = rosecd("enhance", tmp_path / "in.wav", tmp_path / "out.wav", "--checkpoint", TINY)
    assert done.exit_code == 0, done.output
    assert io.read(tmp_path / "out.wav").wave.shape == (1, 4000)
