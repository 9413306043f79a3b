"""The command line as a user meets it: real processes, real files."""

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args, get_type_hints

import jax
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

import rosecd_jax.evaluation
from rosecd_jax import load_checkpoint, save_checkpoint
from rosecd_jax.audio import io
from rosecd_jax.audio.pcm import ENCODINGS
from rosecd_jax.cli import app
from rosecd_jax.cli.evaluate import unique_name
from rosecd_jax.cli.train import read_config
from rosecd_jax.diffusion import Preconditioning
from rosecd_jax.models import ModelConfig, NCSNppConfig, ScoreModel
from rosecd_jax.models.enhancement import Sampler, SamplerConfig
from tests.helpers import TINY, random_params

ROOT = Path(__file__).parents[1]
WIDE = {"COLUMNS": "200", "TERMINAL_WIDTH": "200"}


def rosecd(*arguments: object, program: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command, or one of the repository's scripts."""
    command = [ROOT / program] if program else ["-m", "rosecd_jax.cli"]
    words = [sys.executable, *map(str, command), *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, cwd=ROOT, timeout=300)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    model = ScoreModel(
        ModelConfig(
            role="student",
            preconditioning=Preconditioning(c_in="1"),
            network=NCSNppConfig(channels=4, multipliers=(1, 1, 1, 1), blocks=1, attention_heights=()),
        )
    )
    return save_checkpoint(tmp_path_factory.mktemp("model") / "tiny", model, model.init(jax.random.key(0)))


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    generator = np.random.default_rng(0)
    for name in ("a.wav", "b.wav"):
        clean = 0.1 * np.sin(np.arange(16_000) / 9) * (generator.random(16_000) > 0.3)
        io.write(folder / "clean" / name, clean, 16_000)
        io.write(folder / "noisy" / name, clean + 0.02 * generator.standard_normal(16_000), 16_000)
    return folder


SAMPLING = {
    "--sampler": get_args(Sampler),
    "--corrector": get_args(get_type_hints(SamplerConfig)["corrector"]),
    "--weights": get_args(get_type_hints(load_checkpoint)["weights"]),
    "--dtype": get_args(get_type_hints(NCSNppConfig)["dtype"]),
}
CHOICES = {
    "enhance in out": SAMPLING,
    "evaluate data": SAMPLING,
    "export ckpt out": SAMPLING,
    "stream": SAMPLING | {"--encoding": tuple(ENCODINGS)},
}


@pytest.mark.parametrize("words", CHOICES)
def test_choices_are_the_library_s_in_help_and_completion_and_others_are_refused_by_name(
    words, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    command = words.split()
    help_text = re.sub(r"[│\s]", "", CliRunner().invoke(app, [command[0], "--help"], env=WIDE).output)
    for option, choices in CHOICES[words].items():
        assert "|".join(choices) in help_text
        completed = f"rosecd {words} {option} "
        environment = {
            "_ROSECD_COMPLETE": "complete_bash",
            "COMP_WORDS": completed,
            "COMP_CWORD": str(len(completed.split())),
        }
        offered = CliRunner().invoke(app, [], prog_name="rosecd", env=environment).output
        assert tuple(offered.split()) == choices
        result = CliRunner().invoke(app, [*command, option, "best"], env=WIDE)
        assert result.exit_code == 2
        message = f"'best' is not one of {', '.join(map(repr, choices))}"
        assert option in result.stderr
        assert message in " ".join(result.stderr.replace("│", " ").split())
        assert not list(tmp_path.iterdir())


def test_help_names_every_command():
    words = rosecd("--help").stdout
    assert all(command in words for command in ("enhance", "evaluate", "train", "prepare"))


def test_enhance_a_file(checkpoint, data, tmp_path):
    done = rosecd("enhance", data / "noisy" / "a.wav", tmp_path / "out.wav", "--checkpoint", checkpoint)
    assert done.returncode == 0, done.stderr
    assert io.read(tmp_path / "out.wav").wave.shape == (1, 16_000)


@pytest.mark.slow
def test_enhance_a_folder_survives_a_broken_file_and_exits_with_1(checkpoint, data, tmp_path):
    for name in ("a.wav", "b.wav"):
        io.write(tmp_path / "in" / name, io.read(data / "noisy" / name).wave, 16_000)
    (tmp_path / "in" / "broken.wav").write_bytes(b"nothing")
    done = rosecd("enhance", tmp_path / "in", tmp_path / "out", "-c", checkpoint)
    assert done.returncode == 1
    assert "broken.wav" in done.stderr
    assert "2 of 3" in done.stdout
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.wav", "b.wav"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        ("missing.wav", "out.wav", "missing.wav"),
        ("noisy", "clean/a.wav", "needs a folder"),
        ("noisy/a.wav", "noisy/a.wav", "input itself"),
    ],
)
def test_enhance_says_what_is_wrong_in_one_line(checkpoint, data, source, target, words):
    done = rosecd("enhance", data / source, data / target, "-c", checkpoint)
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_enhance_without_a_checkpoint_there(data, tmp_path):
    done = rosecd("enhance", data / "noisy", tmp_path / "out", "-c", tmp_path / "nowhere")
    assert done.returncode == 1
    assert "nowhere" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_evaluate_prints_a_table_and_writes_one_per_file(checkpoint, data, tmp_path):
    done = rosecd("evaluate", data, "-c", checkpoint, "--enhanced", data / "clean", "--output", tmp_path)
    assert done.returncode == 0, done.stderr
    for word in ("PESQ", "ESTOI", "SI-SDR", "SI-SIR", "SI-SAR", "noisy", "tiny", "clean"):
        assert word in done.stdout
    rows = (tmp_path / "tiny.csv").read_text().splitlines()
    assert rows[0].startswith("file,seconds,computing_seconds,pesq,estoi,si_sdr")
    assert [row.split(",")[0] for row in rows[1:]] == ["a.wav", "b.wav"]
    assert io.read(tmp_path / "tiny" / "a.wav").subtype == "FLOAT"


@pytest.mark.slow
@pytest.mark.parametrize("separate", [False, True])
def test_evaluate_script_takes_the_data_as_an_option(data, tmp_path, separate):
    words = ["--data", data] if separate else [f"--data={data}"]
    done = rosecd(f"--output={tmp_path}", *words, program="evaluate.py")
    assert done.returncode == 0, done.stderr
    assert "SI-SDR" in done.stdout


def test_evaluate_measures_the_weights_in_the_dtype_and_windows_that_are_asked_for(
    data, tmp_path, monkeypatch
):
    both = {"ema": random_params(TINY, seed=1), "raw": random_params(TINY, seed=2)}
    path = save_checkpoint(tmp_path / "model", TINY, both)
    asked = []

    def watched(data, methods, **options):
        asked.extend(methods)
        raise typer.Exit

    monkeypatch.setattr(rosecd_jax.evaluation, "evaluate", watched)
    words = ["-c", path, "--weights", "raw", "--dtype", "bfloat16", "--limit", 5]
    done = CliRunner().invoke(app, ["evaluate", *map(str, [data, *words])], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    enhancer = dict(asked)["model"]
    assert (enhancer.model.config.network.dtype, enhancer.limit) == ("bfloat16", 5)
    jax.tree.map(np.testing.assert_array_equal, enhancer.params, both["raw"])


@pytest.mark.slow
def test_evaluate_reports_a_missing_partner_and_scores_the_rest(data, tmp_path):
    for side in ("clean", "noisy"):
        for name in ("a.wav", "b.wav"):
            io.write(tmp_path / side / name, io.read(data / side / name).wave, 16_000)
    (tmp_path / "noisy" / "b.wav").unlink()
    done = rosecd("evaluate", tmp_path)
    assert done.returncode == 1
    assert "b.wav" in done.stderr
    assert "noisy" in done.stdout


@pytest.mark.slow
def test_train_script_trains_resumes_and_can_be_enhanced_with(data, tmp_path):
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "train").symlink_to(data)
    tiny = [
        "--config.model.network.channels=4",
        "--config.model.network.multipliers=(1,1)",
        "--config.data.frames=64",
        "--config.data.batch_size=2",
        "--config.log_every=1",
    ]
    common = ["--config=configs/demo.py:teacher", f"--workdir={tmp_path}/run"]
    common += [f"--config.data.path={tmp_path}/corpus", *tiny]
    first = rosecd(*common, "--config.steps=2", program="train.py")
    assert first.returncode == 0, first.stderr
    assert "step 2/2" in first.stdout
    assert list((tmp_path / "run" / "tensorboard").iterdir())
    second = rosecd(*common, "--config.steps=3", program="train.py")
    assert second.returncode == 0, second.stderr
    assert "resumed at step 2" in second.stdout
    assert "step 3/3" in second.stdout
    other = rosecd(*common, "--config.seed=5", program="train.py")
    assert other.returncode == 1
    assert "seed: 0 -> 5" in other.stderr
    source, target = data / "noisy" / "a.wav", tmp_path / "o.wav"
    done = rosecd("enhance", source, target, "-c", tmp_path / "run", "--steps", 2)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("file", "overrides", "words"),
    [
        ("configs/none.py", [], "no config file"),
        ("configs/demo.py:nobody", [], "stage 'nobody': expected teacher or student"),
        ("configs/demo.py", ["--config.no_such_thing=1"], "no_such_thing"),
        ("configs/demo.py", ["--config.steps=many"], "--config.steps=many: expected a whole number$"),
        ("configs/demo.py", ["--config.optimizer.learning_rate=a"], "learning_rate=a: expected a number$"),
        ("configs/demo.py", ["--config.optimizer.learning_rate=1e300"], "learning_rate is .* float32"),
        ("configs/demo.py", ["stray"], "stray"),
        ("configs/demo.py", ["--config.objective=magic"], "objective"),
        ("configs/demo.py", ["--config.data.frames=65"], "multiple"),
    ],
)
def test_a_config_that_cannot_be_used_says_why(monkeypatch, file, overrides, words):
    monkeypatch.chdir(ROOT)
    with pytest.raises(ValueError, match=words):
        read_config(file, overrides)


def test_the_demonstrations_commands_make_what_make_demo_makes(tmp_path, monkeypatch):
    from benchmarks.demo import CORPUS
    from rosecd_jax.data.corpus import synthetic

    text = (ROOT / "configs" / "demo.py").read_text()
    (options,) = re.findall(r"rosecd prepare synthetic demo/corpus(.*)", text)
    asked = []
    monkeypatch.setattr(synthetic, "write_corpus", lambda directory, config, _: asked.append(config) or {})
    words = ["prepare", "synthetic", str(tmp_path / "corpus"), *options.split()]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert asked == [CORPUS]


@pytest.mark.slow
def test_the_demonstration_says_in_a_line_that_another_corpus_is_in_its_way(tmp_path):
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "corpus.json").write_text('{"config": {"hours": 0.1}, "splits": {}}')
    words = [sys.executable, "-m", "benchmarks.demo", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1
    assert "holds a corpus with another config" in done.stderr
    assert "choose another directory" in done.stderr
    assert "Traceback" not in done.stderr


def test_paths_that_end_alike_get_longer_names():
    paths = [Path("/x/a/student"), Path("/x/b/student"), Path("/x/teacher")]
    assert [unique_name(path, paths) for path in paths] == ["a-student", "b-student", "teacher"]
