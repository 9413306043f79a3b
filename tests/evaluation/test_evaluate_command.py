"""rosecd evaluate: its options, from the command line to results.json."""

import json
import re
from pathlib import Path

import jax
import numpy as np
import pytest
from typer.testing import CliRunner

from rosecd_jax.audio import io
from rosecd_jax.cli import app
from rosecd_jax.cli.evaluate import load_systems, parse_system, read_config, unique_name
from rosecd_jax.models.checkpoint import save_checkpoint
from tests.helpers import TINY

RATE = 16_000


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Three pairs, a teacher and a folder of enhanced files that is called noisy."""
    tmp_path = tmp_path_factory.mktemp("data")
    generator = np.random.default_rng(0)
    for i in range(3):
        clean = 0.2 * np.sin(2 * np.pi * 300 * np.arange(8000 + 800 * i) / RATE)
        noise = generator.normal(size=clean.size, scale=0.03)
        for side, wave in (("clean", clean), ("noisy", clean + noise), ("other/noisy", clean + noise / 2)):
            io.write(tmp_path / side / f"{i}.wav", wave, RATE, subtype="FLOAT")
    save_checkpoint(tmp_path / "teacher", TINY, TINY.init(jax.random.key(0)))
    return tmp_path


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ROSECD_CACHE", str(tmp_path))


def run(*words: object, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["evaluate", *map(str, words)])
    assert done.exit_code == code, done.output
    return done.output


def test_a_model_is_measured_at_several_step_counts(data):
    teacher = data / "teacher"
    output = run(
        *(data, "--metrics", "si_sdr,level", "--output", data / "out", "--baseline", "five"),
        *("-c", f"{teacher},steps=2,name=two", "-c", f"{teacher},steps=5,sampler=predictor,name=five"),
        *("--enhanced", data / "other" / "noisy"),
    )
    results = json.loads((data / "out" / "results.json").read_text())
    assert [system["name"] for system in results["systems"]] == ["noisy", "two", "five", "other-noisy"]
    assert [system["network_calls"] for system in results["systems"]] == [None, 4, 5, None]
    assert results["systems"][2]["difference"] is None
    assert results["systems"][1]["settings"]["steps"] == 2
    assert "differences from five" in output
    assert "SI-SDR" in output


def test_many_measures_have_a_row_each(data):
    other = data / "other" / "noisy"
    measures = "si_sdr,si_sir,si_sar,seg_snr,lsd,level,clipped,silenced"
    output = run(data, "--metrics", measures, "--enhanced", other)
    results = run(data, "--metrics", "si_sdr", "--enhanced", other)
    value = re.search(r"other-noisy │ 3 +│ ([\d.]+) ", results)
    assert value
    assert re.search(rf"SI-SDR +│ [\d.]+ \[[^│]+│ {value[1]} \[", output)
    assert "…" not in output


def test_the_papers_tables_are_a_config():
    given = read_config("eval_paper:runs/t,runs/s")
    systems = [parse_system(word) for word in given["checkpoints"]]
    steps = [(str(path), settings["steps"]) for path, settings in systems]
    assert steps == [("runs/t", n) for n in (1, 3, 5, 10, 20, 30)] + [("runs/s", n) for n in (1, 2, 4)]
    assert given["baseline"] in {settings["name"] for _, settings in systems}
    with pytest.raises(ValueError, match="expected TEACHER,STUDENT"):
        read_config("eval_paper:runs/t")


def test_a_config_lists_systems_and_published_figures(data, tmp_path):
    given = {"enhanced": [str(data / "other" / "noisy")], "metrics": "si_sdr", "baseline": "other-noisy"}
    given["published"] = [{"name": "ROSE-CD", "source": "paper", "si_sdr": 17.8}]
    (tmp_path / "mine.py").write_text(f"def get_config(data): return {given} | {{'data': data}}")
    output = run("--config", f"{tmp_path / 'mine.py'}:{data}", "--output", tmp_path)
    results = json.loads((tmp_path / "results.json").read_text())
    assert [system["name"] for system in results["systems"]] == ["noisy", "other-noisy"]
    assert results["baseline"] == "other-noisy"
    assert "ROSE-CD (paper)" in output
    assert "17.8" in output


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("def get_config(): return 1 / 0", "line 1: ZeroDivisionError"),
        ("def get_config(): return {'checkpoint': []}", "returns checkpoint; expected a mapping with keys"),
        ("def get_config(): return 3", "returns no mapping"),
    ],
)
def test_a_config_that_fails_is_one_line(data, content, words):
    (data / "mine.py").write_text(content)
    output = run(data, "--config", data / "mine.py", code=1)
    assert words in output.replace("\n", "")
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--metrics", "mos"), "no measure 'mos'; expected one of pesq"),
        (("--baseline", "x"), "no system is called 'x'; there are noisy, other-noisy"),
        (("-c", "small,step=3"), "no setting 'step=3'; expected one of name"),
        (("-c", "small,steps=many"), "steps is 'many'; expected a number"),
        (("-c", "small,name=noisy"), "two systems are called noisy"),
        (("--scores", "none.csv"), "none.csv: can't be read"),
        (("--manifest", "none.csv"), "none.csv: can't be read"),
    ],
)
def test_options_that_make_no_sense_are_refused(data, options, words):
    output = run(data, "--enhanced", data / "other" / "noisy", *options, code=1)
    assert words in output.replace("\n", "")


@pytest.mark.parametrize(
    ("option", "text", "words"),
    [
        ("--scores", "file,metric,value,system\n0,wer,1,noisy\n9,wer,1,noisy\n", "no such file as 9"),
        ("--scores", "file,metric,value,system\n0,wer,1,x\n", "no such system; there are noisy, other-noisy"),
        ("--scores", "file,metric,value,system\n0,si_sdr,1,noisy\n", "is also computed here"),
        ("--manifest", "file,speaker\nnoisy/0.wav,p1\n", "which has noisy/0, but not 0.wav"),
        ("--manifest", "file,speaker\n", "which has no rows"),
    ],
)
def test_tables_of_something_else_are_refused_before_scoring(
    data, tmp_path, monkeypatch, option, text, words
):
    monkeypatch.setattr("rosecd_jax.evaluation.evaluate", lambda *_, **__: pytest.fail("evaluated"))
    (tmp_path / "table.csv").write_text(text)
    other = data / "other" / "noisy"
    output = run(data, "--metrics", "si_sdr", "--enhanced", other, option, tmp_path / "table.csv", code=1)
    assert words in output.replace("\n", "")


def test_files_that_a_manifest_lacks_are_noted(data, tmp_path):
    (tmp_path / "some.csv").write_text("file,speaker\n0.wav,p1\n1.wav,p2\n8.wav,p1\n")
    options = "--metrics", "si_sdr", "--enhanced", data / "other" / "noisy"
    output = run(data, *options, "--manifest", tmp_path / "some.csv").replace("\n", "")
    assert "some.csv: 1 of 3 files are not in the manifest, such as 2.wav" in output


def test_a_difference_over_fewer_files_says_so(data, tmp_path):
    part = tmp_path / "part"
    for name in ("0.wav", "1.wav"):
        io.write(part / name, io.read(data / "noisy" / name).wave, RATE)
    output = run(data, "--metrics", "si_sdr", "--enhanced", part, "--baseline", "part", code=1)
    assert re.search(r"noisy +│ [+-][\d.]+ \[[^│]+\] \(2\), ", output.split("differences from")[1])


def test_output_and_report_in_two_folders_are_refused(data, tmp_path):
    options = data, "--metrics", "si_sdr", "--enhanced", data / "other" / "noisy"
    output = run(*options, "--output", tmp_path / "a", "--report", tmp_path / "b", code=1)
    assert "--report also writes what --output does: give one of them" in output
    run(*options, "--output", tmp_path / "a", "--report", tmp_path / "b" / ".." / "a")
    assert (tmp_path / "a" / "report.html").exists()
    assert "is of an earlier evaluation" in run(*options, "--output", tmp_path / "a").replace("\n", "")


def test_without_data_there_is_an_error():
    assert "no data: give a folder" in run(code=1)


def test_systems_are_parsed():
    assert parse_system("small") == (Path("small"), {})
    path, settings = parse_system("runs/a,b,steps=3,snr=0.4,sampler=ode,name=x")
    assert path == Path("runs/a,b")
    assert settings == {"steps": 3, "snr": 0.4, "sampler": "ode", "name": "x"}
    assert unique_name(Path("/a/noisy"), [Path("/a/noisy")]) == "a-noisy"


def test_a_model_keeps_its_name_beside_one_that_was_given_another(data):
    teacher = str(data / "teacher")
    systems = load_systems([teacher, f"{teacher},steps=2,name=two"], [], {})
    assert [name for name, _ in systems] == ["noisy", "teacher", "two"]
