"""rosecd_jax.evaluation: results.json, tables that are read, and what is kept from an earlier run."""

import json
import math

import jax
import numpy as np
import pytest
from scipy.signal import fftconvolve

from rosecd_jax.audio import io
from rosecd_jax.evaluation import ScoreCache, build_results, evaluate, read_results, scoring, write_results
from rosecd_jax.evaluation.check import check
from rosecd_jax.evaluation.results import check_manifest, check_scores
from rosecd_jax.evaluation.tables import read_manifest, read_scores
from rosecd_jax.inference import Enhancer, SamplerConfig
from tests.evaluation import faults
from tests.helpers import TINY

RATE = 16_000
NAMES = ("a.wav", "sub/b.wav", "sub/c.wav")
MEASURES = ("si_sdr", "seg_snr", "level")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Three pairs, 0, 10 and 20 dB, and a folder with half of the noise."""
    folder = tmp_path_factory.mktemp("pairs")
    generator = np.random.default_rng(0)
    for i, name in enumerate(NAMES):
        clean = 0.2 * np.sin(2 * np.pi * 300 * np.arange(8000 + 800 * i) / RATE)
        noise = generator.normal(size=clean.size) * np.sqrt(np.mean(clean**2)) * 10 ** (-i / 2)
        for side, wave in (("clean", clean), ("noisy", clean + noise), ("better", clean + noise / 2)):
            io.write(folder / side / name, wave, RATE, subtype="FLOAT")
    return folder


def systems(data):
    model = Enhancer(TINY, TINY.init(jax.random.key(0)), SamplerConfig("consistency", 1), buckets=())
    return [("noisy", None), ("model", model), ("better", data / "better")]


def run(data, output, **options):
    evaluations = evaluate(data, systems(data), output=output, measures=MEASURES)
    results = build_results(data, evaluations, **options)
    write_results(output, results, evaluations)
    return evaluations


def test_two_runs_write_the_same_bytes(data, tmp_path):
    for name in ("one", "two"):
        run(data, tmp_path / name)
    assert (tmp_path / "one/results.json").read_bytes() == (tmp_path / "two/results.json").read_bytes()


def test_results_hold_intervals_differences_and_groups(data, tmp_path):
    manifest = {name.removesuffix(".wav"): {"speaker": "p1" if i else "p2"} for i, name in enumerate(NAMES)}
    run(data, tmp_path, manifest=manifest)
    results = read_results(tmp_path)
    noisy, model, better = results["systems"]
    assert [system["kind"] for system in results["systems"]] == ["noisy", "checkpoint", "folder"]
    assert (model["network_calls"], noisy["network_calls"]) == (1, None)
    assert noisy["difference"] is None
    gain = better["difference"]["si_sdr"]
    assert gain["mean"] == pytest.approx(20 * math.log10(2), abs=0.1)
    assert gain["low"] <= gain["mean"] <= gain["high"]
    assert (gain["better"], gain["worse"], gain["files"]) == (1, 0, 3)
    labels = {(group["by"], group["label"]): group["files"] for group in results["groups"]}
    assert labels[("speaker", "p1")] == 2
    assert sum(files for (by, _), files in labels.items() if by == "snr") == 3
    assert [file["snr"] for file in results["files"]] == pytest.approx([0, 10, 20], abs=0.2)
    entry = results["files"][1]
    assert entry["file"] == entry["noisy"] == "sub/b.wav"
    assert (tmp_path / "model" / entry["systems"]["model"]["file"]).is_file()
    assert entry["columns"] == {"speaker": "p1"}
    times = json.loads((tmp_path / "times.json").read_text())["systems"]
    assert times["model"]["real_time_factor"] > 0
    assert times["noisy"]["real_time_factor"] is None


def test_files_that_a_run_has_enhanced_are_kept(data, tmp_path, monkeypatch):
    calls, enhance = [], Enhancer.__call__

    def counted(self, *arguments, **options):
        calls.append(1)
        return enhance(self, *arguments, **options)

    monkeypatch.setattr(Enhancer, "__call__", counted)
    first = run(data, tmp_path)
    assert len(calls) == 3
    again = run(data, tmp_path)
    assert len(calls) == 3
    assert again[1].real_time_factor == first[1].real_time_factor
    assert [file.measures for file in again[1].files] == [file.measures for file in first[1].files]
    (tmp_path / "model" / "a.wav").write_bytes(b"damaged")
    run(data, tmp_path)
    assert len(calls) == 4
    (_, (_, model), _) = systems(data)
    other = Enhancer(TINY, TINY.init(jax.random.key(1)), model.sampler, buckets=())
    evaluate(data, [("model", other)], output=tmp_path, measures=MEASURES)
    assert len(calls) == 7


def test_scores_are_computed_once(data, tmp_path, monkeypatch):
    task = scoring.Task(data / "clean", data / "noisy", MEASURES, ScoreCache(tmp_path / "cache" / "scores"))
    wave = io.read(data / "noisy" / "a.wav").wave
    estimate = scoring.Estimate(data.joinpath("a.wav").relative_to(data), wave, RATE, math.nan)
    first = scoring.score(task, estimate)
    monkeypatch.setattr(scoring, "measure", lambda *_, **__: pytest.fail("computed again"))
    assert scoring.score(task, estimate) == first
    monkeypatch.undo()
    changed = scoring.Estimate(estimate.name, 0.5 * wave, RATE, math.nan)
    assert scoring.score(task, changed).measures["level"] == pytest.approx(-6.02, abs=0.01)


def test_a_cache_that_is_none_is_no_error(tmp_path):
    (tmp_path / "file").write_bytes(b"no database, and longer than a header of one" * 100)
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        cache = ScoreCache(path)
        cache.put("key", [1.0, math.nan])
        assert cache.get("key") is None
    cache = ScoreCache(tmp_path / "new")
    cache.put("key", [1.0, math.nan])
    assert cache.get("key") == pytest.approx([1.0, math.nan], nan_ok=True)
    assert cache.get("other") is None


def test_scores_of_other_tools_stand_beside_ours(data, tmp_path):
    table = tmp_path / "wer.csv"
    table.write_text(
        "file,metric,value,system,better\na.wav,wer,0.5,noisy,lower\nsub/b,wer,0.25,noisy,lower\n"
    )
    (tmp_path / "mos.csv").write_text("file,metric,value\na.flac,utmos,3.5\n")
    evaluations = evaluate(data, [("noisy", None), ("better", data / "better")], measures=MEASURES)
    others = [*read_scores(table), *read_scores(tmp_path / "mos.csv", "better")]
    results = build_results(data, evaluations, others=others)
    assert [measure["name"] for measure in results["measures"]] == [*MEASURES, "wer", "utmos"]
    assert results["systems"][0]["summary"]["wer"]["mean"] == 0.375
    assert results["systems"][1]["summary"]["utmos"]["files"] == 1
    for wrong, words in (("x", "no such system"), ("better", "no such file as missing")):
        (tmp_path / "bad.csv").write_text("file,metric,value\nmissing.wav,utmos,3.5\n")
        with pytest.raises(ValueError, match=words):
            build_results(data, evaluations, others=read_scores(tmp_path / "bad.csv", wrong))


def tables(folder, *texts):
    """Scores of the noisy input in the files 0.csv, 1.csv, ..."""
    for i, text in enumerate(texts):
        (folder / f"{i}.csv").write_text(text)
    return [scores for i in range(len(texts)) for scores in read_scores(folder / f"{i}.csv", "noisy")]


def test_tables_of_one_metric_are_merged(data, tmp_path):
    evaluations = evaluate(data, [("noisy", None)], measures=("si_sdr",))
    parts = "file,metric,value\na.wav,pesq,0.5\n", "file,metric,value\nsub/b,pesq,0.25\nsub/c,pesq,nan\n"
    results = build_results(data, evaluations, others=tables(tmp_path, *parts))
    assert "pesq" not in results["versions"]
    scores = [file["systems"]["noisy"]["scores"]["pesq"] for file in results["files"]]
    assert scores == pytest.approx([0.5, 0.25, math.nan], nan_ok=True)
    assert results["measures"][-1]["note"] == "from 0.csv, from 1.csv"


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (("a.wav,wer,1,", "a.flac,wer,1,"), "a second wer of a, also from 0.csv; remove one"),
        (("a,wer,1,lower", "sub/b,wer,1,"), "better is higher, but lower from 0.csv"),
        (("a,si_sdr,1,",), "si_sdr of noisy, from 0.csv: is also computed here; rename the metric"),
        (("a,wer,inf,",), "a has the value inf"),
        (("a,wer,-inf,",), "a has the value -inf"),
        (("missing,wer,1,",), "no such file as missing"),
    ],
)
def test_tables_that_contradict_each_other_or_the_evaluation_are_refused(tmp_path, rows, words):
    others = tables(tmp_path, *(f"file,metric,value,better\n{row}\n" for row in rows))
    with pytest.raises(ValueError, match=words):
        check_scores(others, NAMES, ["noisy"], MEASURES)


def test_systems_share_the_direction_of_a_metric(tmp_path):
    text = "file,metric,value,system,better\na,wer,1,noisy,lower\na,wer,1,made,higher\n"
    others = tables(tmp_path, text)
    with pytest.raises(ValueError, match=r"wer of made, .*: better is higher, but lower from 0"):
        check_scores(others, NAMES, ["noisy", "made"], MEASURES)


def test_files_without_a_row_in_the_manifest_are_noted(data):
    whole = {name.removesuffix(".wav"): {} for name in (*NAMES, "other.wav")}
    assert check_manifest(whole, NAMES) == ""
    words = "2 of 3 files are not in the manifest, such as sub/b.wav"
    assert check_manifest({"a": {}, "b": {}}, NAMES) == words
    evaluations = evaluate(data, [("noisy", None)], measures=("si_sdr",))
    with pytest.raises(ValueError, match=r"which has noisy/a, but not a\.wav; names are relative"):
        build_results(data, evaluations, manifest={"noisy/a": {"speaker": "p1"}})
    with pytest.raises(ValueError, match="which has no rows"):
        check_manifest({}, NAMES)


@pytest.mark.parametrize(
    ("cells", "labels"),
    [(("10", "5", "-2.5"), ["-2.5", "5", "10"]), (("10", "5", "quiet"), ["10", "5", "quiet"])],
)
def test_groups_are_in_the_order_of_their_values(data, cells, labels):
    evaluations = evaluate(data, [("noisy", None)], measures=("si_sdr",))
    manifest = {name.removesuffix(".wav"): {"x": cell} for name, cell in zip(NAMES, cells, strict=True)}
    groups = build_results(data, evaluations, manifest=manifest)["groups"]
    assert [group["label"] for group in groups if group["by"] == "x"] == labels


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file,value\na,1\n", "no column 'metric' among file, value"),
        ("file,metric,value\na,wer,high\n", "line 2: 'high' is not a number"),
        ("file,metric,value\na,wer,1\na.wav,wer,2\n", "line 3: a second wer of a.wav"),
        (
            "file,metric,value,better\na,wer,1,lower\nb,wer,1,higher\n",
            "line 3: better is higher, but lower in",
        ),
        ("file,metric,value\na,wer\n", "line 2: expected 3 cells"),
        ("", "no column 'file' among none"),
    ],
)
def test_damaged_tables_are_refused(tmp_path, text, words):
    (tmp_path / "scores.csv").write_text(text)
    with pytest.raises(ValueError, match=words):
        read_scores(tmp_path / "scores.csv", "noisy")


def test_a_table_without_a_system_is_refused(tmp_path):
    (tmp_path / "scores.csv").write_text("file,metric,value\na,wer,1\n")
    with pytest.raises(ValueError, match="pass SYSTEM=FILE"):
        read_scores(tmp_path / "scores.csv")


def test_a_manifest_names_a_file_once(tmp_path):
    path = tmp_path / "manifest.csv"
    path.write_text("file,speaker\na.wav,p1\na.flac,p2\n")
    with pytest.raises(ValueError, match="line 3: a is also in an earlier line"):
        read_manifest(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "can't be read"),
        ("{", "is damaged"),
        ("[]", "holds no results"),
        (json.dumps({"format": 9, "systems": [], "files": [], "measures": []}), "is of format 9"),
    ],
)
def test_damaged_results_are_refused(tmp_path, content, words):
    if content is not None:
        (tmp_path / "results.json").write_text(content)
    with pytest.raises(ValueError, match=words):
        read_results(tmp_path)


def test_an_unknown_baseline_is_refused(data):
    evaluations = evaluate(data, [("noisy", None)], measures=MEASURES)
    with pytest.raises(ValueError, match="baseline 'x': no such system; there are noisy"):
        build_results(data, evaluations, baseline="x")


def test_files_that_are_not_paired_are_named(data, tmp_path):
    older = NAMES[0].replace(".wav", ".flac")  # beside a file of exactly the clean one's name
    for name in (*NAMES[:2], older, "extra.wav"):
        io.write(tmp_path / name, io.read(data / "noisy" / NAMES[0]).wave, RATE)
    (result,) = evaluate(data, [("made", tmp_path)], measures=MEASURES)
    listed = ", ".join(sorted((older, "extra.wav")))
    assert f"not scored, because no clean file is paired with them: {listed} (2 in all)" in result.notes
    assert [error.file for error in result.errors][-1] == NAMES[2]
    io.write(data / "noisy" / "more.wav", io.read(data / "noisy" / NAMES[0]).wave, RATE)
    (noisy,) = evaluate(data, [("noisy", None)], measures=MEASURES)
    (data / "noisy" / "more.wav").unlink()
    assert "not scored, because no clean file is paired with them: more.wav (1 in all)" in noisy.notes


def test_estimates_of_another_recording_are_noted(data, tmp_path):
    noise = np.random.default_rng(5).normal(size=(1, 8000), scale=0.1)
    io.write(tmp_path / "made" / "a.wav", noise, RATE, subtype="FLOAT")
    (result,) = evaluate(data, [("made", tmp_path / "made")], measures=MEASURES)
    assert "too unlike the clean file to measure a delay" in result.files[0].note


@pytest.mark.parametrize("gain", [0.01, 3.0])
def test_a_clean_file_of_another_level_is_noted(data, tmp_path, gain):
    for side in ("clean", "noisy"):
        wave = io.read(data / side / NAMES[2]).wave * (gain if side == "clean" else 1)
        io.write(tmp_path / side / "a.wav", wave, RATE, subtype="FLOAT")
    (result,) = evaluate(tmp_path, [("noisy", None)], measures=MEASURES)
    word = "louder" if gain < 1 else "fainter"
    assert f"{word} in the noisy file than in the clean one" in result.files[0].note


def test_clean_files_that_are_noisier_than_the_noisy_ones_are_noted_first(tmp_path):
    faults.write_set(tmp_path)
    (result,) = evaluate(tmp_path, [("noisy", None)], measures=MEASURES)
    assert result.notes == []
    faults.swap(tmp_path)
    noisy, made = evaluate(tmp_path, [("noisy", None), ("made", tmp_path / "noisy")], measures=MEASURES)
    assert noisy.notes == [
        "5 of 5 clean files are noisier than the noisy ones: swap them; `rosecd check` lists them"
    ]
    assert made.notes == []


def test_a_file_of_two_channels_counts_with_both(tmp_path):
    """One channel is silent in both files; the other has another level."""
    wave = io.read(faults.write_set(tmp_path / "set", ("a.wav",)) / "clean" / "a.wav").wave
    for side, gain in (("clean", 1), ("noisy", 3)):
        io.write(tmp_path / side / "a.wav", np.concatenate([0 * wave, gain * wave]), RATE, subtype="FLOAT")
    (result,) = evaluate(tmp_path, [("noisy", None)], measures=MEASURES)
    assert "speech is 9.5 dB louder in the noisy file" in result.files[0].note


def reverberant_set(folder, recipe):
    """Noise as speech in rooms whose first echo is the loudest; the last file is of another recording."""
    generator = np.random.default_rng(0)
    rows = [f"file,{'recipe,' if recipe else ''}t60,room"]
    for i in range(3):
        clean = generator.normal(size=8000, scale=0.1)
        noisy = 2 * fftconvolve(clean, np.r_[0.8, np.zeros(50), 1, np.zeros(99), 0.3])[: clean.size]
        noisy = noisy if i < 2 else generator.normal(size=8000, scale=0.1)
        for side, wave in (("clean", clean), ("noisy", noisy), ("made", noisy * 0.5)):
            io.write(folder / side / f"{i}.wav", wave, RATE, subtype="FLOAT")
        rows.append(f'{i}.wav,{recipe and recipe + ","}0.5,"{{""size"": [5, 5, 2]}}"')
    (folder / "manifest.csv").write_text("\n".join(rows))


def test_delay_and_level_of_a_reverberant_input_are_no_faults(tmp_path):
    reverberant_set(tmp_path, "wsj0-reverb")
    noisy, made = evaluate(tmp_path, [("noisy", None), ("made", tmp_path / "made")], measures=MEASURES)
    (note,) = noisy.notes
    assert note.startswith("a reverberant set: delays and levels of its input are those of the rooms")
    assert [result.delay for result in noisy.files] == [51, 51, None]
    unlike, late = made.notes
    assert unlike.startswith("2.wav: too unlike the clean file to measure a delay")
    assert "2 of 3 files are 51 samples (3.19 ms) late" in late
    assert late.endswith("unless reverberation that is left in it is the cause")
    severities = {finding.kind: finding.severity for finding in check(tmp_path)}
    assert (severities["delay"], severities["gain"], severities["unlike"]) == (*2 * ["information"], "error")


def test_only_the_manifest_of_a_recipe_makes_a_set_reverberant(tmp_path):
    reverberant_set(tmp_path, "")
    (noisy,) = evaluate(tmp_path, [("noisy", None)], measures=MEASURES)
    severities = {finding.kind: finding.severity for finding in check(tmp_path)}
    assert (severities["delay"], severities["gain"]) == ("error", "warning")
    assert "louder in the noisy file" in noisy.files[0].note
    assert "2 of 3 files are 51 samples (3.19 ms) late" in noisy.notes[-1]
    assert noisy.notes[-1].endswith("shift each file by its delay in the table of --output")
    (tmp_path / "manifest.csv").write_text("name\n0.wav\n")
    assert evaluate(tmp_path, [("noisy", None)], measures=MEASURES)[0].notes == noisy.notes
