"""rosecd report: one file that holds everything, escapes every name, and takes back the ratings it saved."""

import base64
import configparser
import io as bytes_io
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from rosecd_jax.audio import io
from rosecd_jax.cli import app
from rosecd_jax.cli.evaluate import read_config
from rosecd_jax.evaluation import report, report_charts, spectrogram
from rosecd_jax.evaluation.report import write_report
from rosecd_jax.evaluation.report_charts import Series
from tests.evaluation.page import Page
from tests.evaluation.results_folder import RATE, SYSTEMS, pairs, write_results

FOLDER = Path(report.__file__).parent
TEMPLATES = sorted(path for kind in ("css", "html", "js") for path in FOLDER.glob(f"*.{kind}"))
HOSTILE = "<script>alert(1)</script>.wav"


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return write_results(tmp_path_factory.mktemp("evaluation"), pairs())


@pytest.fixture(scope="module")
def text(directory):
    path = write_report(directory)
    assert path == directory / "report.html"
    return path.read_text("utf-8")


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


@pytest.fixture(scope="module")
def results(directory):
    return json.loads((directory / "results.json").read_text("utf-8"))


def test_the_page_is_well_formed_and_its_links_lead_somewhere(page):
    assert not page.wrong
    assert not page.open
    ids = [a["id"] for _, a, _ in page.elements if "id" in a]
    assert len(set(ids)) == len(ids)
    assert {a["href"][1:] for a, _ in page.all("a")} <= set(ids)
    assert {a["aria-labelledby"] for _, a, _ in page.elements if "aria-labelledby" in a} <= set(ids)


def test_the_page_needs_nothing_from_outside(text, page):
    assert not re.search(r"https?:|url\(|@import|src=\"(?!data:)|//[a-z]+\.[a-z]", text)
    assert [a["href"] for a, _ in page.all("link")] == ["data:,"]
    policy = next(a["content"] for a, _ in page.all("meta") if "http-equiv" in a)
    assert policy.startswith("default-src 'none';")
    assert "connect-src" not in policy
    assert "http" not in policy


def test_names_are_text_wherever_they_appear(text, page):
    assert HOSTILE not in text
    assert not [a for a, words in page.all("b") if words == "program"]
    assert sum("type" not in a for a, _ in page.all("script")) == 1
    rows = json.loads(next(words for a, words in page.all("script") if a.get("id") == "data"))
    assert rows["files"][0]["file"] == HOSTILE
    assert any(words == HOSTILE for _, words in page.all("h3"))
    assert any("other <b>program</b>" in words for _, words in page.all("th"))


def test_a_template_mark_in_a_name_is_left_alone(results):
    changed = {**results, "data": "{{sounds}} {{nobody}}"}
    made = report._page(changed, {}, results["measures"][0], report.Ratings(), [], [])
    assert "<h1>{{sounds}} {{nobody}}</h1>" in made


def test_the_summary_has_means_intervals_and_differences(page, results):
    summary = next(words for a, words in page.all("table", "summary"))
    entry = results["systems"][2]
    mean, difference = entry["summary"]["pesq"], entry["difference"]["pesq"]
    assert f"{mean['mean']:.2f} {mean['low']:.2f} to {mean['high']:.2f}" in summary
    assert f"▲ {difference['mean']:+.2f} {difference['low']:+.2f} to {difference['high']:+.2f}" in summary
    assert f"{100 * difference['better']:.0f} % better, {100 * difference['worse']:.0f} % worse" in summary
    assert "0.0312" in summary
    assert "MUSHRA" not in summary


def test_means_over_fewer_files_say_so_and_are_not_the_best(results):
    changed = json.loads(json.dumps(results))
    teacher, small = changed["systems"][1:3]  # the teacher lacks PESQ of a file
    teacher["summary"]["pesq"]["mean"] = small["summary"]["pesq"]["mean"] + 1
    page = Page(report._page(changed, {}, results["measures"][0], report.Ratings(), [], []))
    bold = [words for _, words in page.all("b")]
    assert f"{small['summary']['pesq']['mean']:.2f}" in bold
    assert f"{teacher['summary']['pesq']['mean']:.2f}" not in bold
    cells = [words for _, words in page.all("td") if "5 of 6 files" in words]
    assert [words.count("5 of 6 files") for words in cells] == [2]  # of mean and difference
    groups = [words for _, words in page.all("table", "groups") if "1 of 2 files" in words]
    assert len(groups) == 1


def test_published_figures_stand_below_the_summary(results):
    entries = [{"name": "ROSE-CD <i>", "source": "its paper", "pesq": 3.49, "estoi": 0.87}]
    page = Page(report._page({**results, "published": entries}, {}, MEASURE, report.Ratings(), [], []))
    table = next(words for _, words in page.all("table", "groups"))
    assert table == "SystemPESQROSE-CD <i>its paper3.49"


def with_published(results, name):
    """Report results with the paper's figures, of files named by a format: the page, and PESQ's chart."""
    files = [{**entry, "file": name.format(i)} for i, entry in enumerate(results["files"])]
    changed = {**results, "files": files, "published": read_config("eval_paper")["published"]}
    text = report._page(changed, {}, results["measures"][0], report.Ratings(), [], [])
    return Page(text), re.search(r'<svg[^>]*aria-label="PESQ by number of network calls">.*?</svg>', text)[0]


def test_published_figures_stand_in_the_chart_of_calls(results):
    page, chart = with_published(results, "p232_{:03d}.wav")
    marks = [words for a, words in Page(chart).all("path", "hollow")]
    assert marks == ["teacher, published: 2.9", "ROSE-CD, published: 3.49", ""]  # the last is the legend's
    assert ">published</text>" in chart
    assert ">60</text>" in chart
    places = [float(x) for x in re.findall(r'class="hollow" d="M[\d.]+ ([\d.]+)', chart)]
    assert places[1] < places[0] < 296
    captions = [words for _, words in page.all("figcaption") if "Published means are over all 824" in words]
    assert len(captions) == 2  # PESQ and SI-SDR; none is published for the others
    assert len(page.all("path", "hollow")) == 6


@pytest.mark.parametrize("name", ["p100_{:03d}.wav", "p232_{:03d}_mix.wav"])
def test_figures_of_another_set_stand_in_no_chart(results, name):
    page, chart = with_published(results, name)
    assert "published" not in chart
    assert not page.all("path", "hollow")
    assert "ROSE-CD" in "".join(words for _, words in page.all("table", "groups"))


def test_a_loss_is_a_loss_where_lower_is_better(results):
    from rosecd_jax.evaluation.report_tables import _difference

    worse = {"mean": 0.5, "low": 0.2, "high": 0.8, "better": 0.1, "worse": 0.9}
    assert "▼ +0.50" in _difference(worse, {"digits": 2, "better": "lower"}, 6)
    assert "▲ +0.50" in _difference(worse, {"digits": 2, "better": "higher"}, 6)
    assert "▲" not in _difference({**worse, "low": -0.1}, {"digits": 2, "better": "higher"}, 6)
    assert "better" not in _difference(worse, {"digits": 2, "better": ""}, 6).split(">", 1)[1]


def test_every_measure_has_a_chart_and_the_chosen_ones_conditions_are_shown(page, results):
    titles = {words for a, words in page.all("h3")}
    assert {"PESQ", "SI-SDR (dB)", "LSD (dB)", "Level change (dB)"} <= titles
    shown = [a["data-measure"] for a, _ in page.all("div", "conditions") if "hidden" not in a]
    assert shown == ["pesq"]
    labels = [a["aria-label"] for a, _ in page.all("svg") if "aria-label" in a]
    assert "Gain in PESQ over noisy, by input SNR" in labels
    assert "PESQ by number of network calls" in labels
    groups = [words for _, words in page.all("table", "groups")]
    assert sum("0 to 10 dB" in words for words in groups) == len(results["measures"])


def test_best_median_worst_and_most_degraded_have_players_and_reasons(page, results):
    cards = {words: a["data-card"] for a, words in page.all("article", "card")}
    words = " ".join(cards)
    for reason in ("best PESQ of small", "median PESQ of small", "worst PESQ of small"):
        assert reason in words
    scores = {e["file"]: e["systems"]["small"]["scores"]["pesq"] for e in results["files"]}
    best = max(scores, key=lambda file: scores[file])
    assert any(best in card and "best PESQ of small" in card for card in cards)
    assert f"{len(cards)} of 6 files have players" in "".join(words for _, words in page.all("p"))


def test_a_degraded_file_is_shown_even_if_its_score_is_not_the_worst(results):
    files = json.loads(json.dumps(results["files"]))
    for i, (noisy, small) in enumerate([(1.0, 1.1), (3.0, 2.0), (4.0, 4.1), (2, 2), (2, 2), (2, 2)]):
        files[i]["systems"]["noisy"]["scores"]["pesq"] = noisy
        files[i]["systems"]["small"]["scores"]["pesq"] = small
    picks = report.choose({**results, "files": files}, results["measures"][0])
    assert "most degraded by small" in next(pick.reasons for pick in picks if pick.index == 1)


def test_sounds_are_the_files_to_16_bits(text, page, results, directory):
    data = json.loads(next(words for a, words in page.all("script") if a.get("id") == "data"))
    sounds = {a["id"]: words for a, words in page.all("script") if a.get("type") == "text/plain"}
    systems = ["noisy", *SYSTEMS, None]
    assert len(sounds) == len(systems) * len(data["cards"])
    for number, card in enumerate(data["cards"]):
        assert [sound["system"] for sound in card["sounds"]] == systems
        for place, folder in ((2, directory / "small"), (4, directory.parent / "clean")):
            played = io.decode(base64.b64decode(sounds[f"sound-{number}-{place}"]), "played")
            assert played.sample_rate == RATE
            np.testing.assert_array_equal(played.wave, io.read(folder / card["file"]).wave)


def test_a_sound_that_would_clip_turns_all_of_its_recording_down(tmp_path):
    name, clean, noisy = pairs(1)[0]
    directory = write_results(tmp_path, [(name, clean, noisy)])
    io.write(directory / "small" / name, 2 * noisy / np.abs(noisy).max(), RATE, subtype="FLOAT")
    page = Page(write_report(directory).read_text("utf-8"))
    assert "all sounds attenuated by 6.0 dB" in "".join(words for _, words in page.all("p"))
    sounds = {a["id"]: words for a, words in page.all("script") if a.get("type") == "text/plain"}
    played = io.decode(base64.b64decode(sounds["sound-0-4"]), "played").wave[0]
    np.testing.assert_allclose(played, clean / 2, atol=1e-4)


def test_a_long_recording_is_cut_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("rosecd_jax.evaluation.report_sounds.EXCERPT_SECONDS", 0.5)
    page = Page(write_report(write_results(tmp_path, pairs(1))).read_text("utf-8"))
    assert "first 0.5 s shown" in "".join(words for _, words in page.all("p"))
    sound = next(words for a, words in page.all("script") if a.get("id") == "sound-0-0")
    assert io.decode(base64.b64decode(sound), "played").wave.shape == (1, RATE // 2)


def test_what_does_not_fit_is_named(directory, monkeypatch):
    monkeypatch.setattr(report, "SOUND_BYTES", 500_000)
    text = write_report(directory).read_text("utf-8")
    assert "omitted to keep this file small: " in text
    assert len(text) < 800_000


@pytest.mark.slow
def test_fifty_files_of_four_systems_with_as_many_players_as_fit_have_less_than_15_mb(tmp_path):
    directory = write_results(tmp_path, pairs(50, seconds=2.0))
    names = [entry["file"] for entry in json.loads((directory / "results.json").read_text())["files"]]
    path = write_report(directory, play=names)
    assert 10_000_000 < path.stat().st_size < 15_000_000


def test_a_sound_newer_than_its_score_says_so(tmp_path):
    directory = write_results(tmp_path, pairs(1))
    time = (directory / "results.json").stat().st_mtime
    assert "changed since" not in write_report(directory).read_text("utf-8")
    os.utime(tmp_path / "other" / HOSTILE, (time + 1, time + 1))
    page = Page(write_report(directory).read_text("utf-8"))
    (words,) = [words for _, words in page.all("button", "panel") if "changed since it was scored" in words]
    assert "other <b>program</b>" in words


def test_missing_waves_are_named_where_they_would_be(tmp_path):
    data = pairs(2)
    directory = write_results(tmp_path, data)
    (directory / "small" / data[1][0]).unlink()
    page = Page(write_report(directory).read_text("utf-8"))
    missing = [words for _, words in page.all("div", "missing")]
    assert len(missing) == 1
    assert "no such file" in missing[0]
    (tmp_path / "clean" / data[0][0]).unlink()
    text = write_report(directory).read_text("utf-8")
    assert "alert(1)&lt;/script&gt;.wav cannot be played: " in text
    (tmp_path / "clean").rename(tmp_path / "elsewhere")
    page = Page(write_report(directory).read_text("utf-8"))
    assert not page.all("article", "card")
    warnings = [words for _, words in page.all("p", "warning")]
    assert sum(f"there is no folder {tmp_path / 'clean'}; " in words for words in warnings) == 1
    assert "hidden" in next(a for a, _ in page.all("button") if a.get("id") == "blind-open")


def test_spectrograms_have_a_row_per_frequency_and_one_scale():
    from PIL import Image

    tone = np.sin(2 * np.pi * 2000 * np.arange(RATE) / RATE).astype(np.float32)
    level = spectrogram.decibels(tone, RATE)
    assert level.shape[0] <= 144
    assert level.shape[1] <= 480
    assert np.argmax(level.mean(axis=1)) == pytest.approx(level.shape[0] / 4, abs=1)
    pictures = []
    for gain in (1.0, 0.01):
        levels = spectrogram.decibels(gain * tone, RATE)
        image = Image.open(bytes_io.BytesIO(spectrogram.picture(levels, float(level.max()))))
        image.load()
        pictures.append(np.asarray(image))
    row = level.shape[0] - 1 - np.argmax(level.mean(axis=1))
    assert pictures[0][row].max() == spectrogram.LEVELS - 1
    lower = (1 - 40 / spectrogram.RANGE_DB) * (spectrogram.LEVELS - 1)
    assert pictures[1][row].max() == pytest.approx(lower, abs=1)


@pytest.mark.parametrize("wave", [np.zeros(100), np.ones(5), np.zeros(48_000 * 3)])
def test_silent_and_short_waves_have_a_picture(wave):
    level = spectrogram.decibels(wave.astype(np.float32), 48_000)
    assert np.isfinite(level).all()
    assert spectrogram.picture(level, float(level.max())).startswith(b"\x89PNG")


def series(name, values, color=0):
    values = np.asarray(values, np.float64)
    mean = float(np.nanmean(values)) if np.isfinite(values).any() else None
    return Series(name, color, values, mean, mean, mean)


MEASURE = {"name": "m", "title": "M", "unit": "", "digits": 2, "better": "higher"}


def test_many_files_become_bars_and_few_become_dots():
    names = [f"{i}.wav" for i in range(300)]
    values = np.random.default_rng(0).normal(size=300)
    many = report_charts.distribution(MEASURE, [series("a", values)], names)
    few = report_charts.distribution(MEASURE, [series("a", values[:20])], names)
    assert 'class="bar c0"' in many
    assert few.count("<title>") == 20


@pytest.mark.parametrize("values", [[2.0, 2.0, 2.0], [0.0], [np.nan, 1e9], [-1e-9, 1e-9]])
def test_charts_of_odd_values_have_numbers_only(values):
    names = [f"{i}.wav" for i in range(len(values))]
    snrs = np.arange(len(values), dtype=np.float64)
    one, other = series("a", values), series("b", np.zeros(len(values)), 1)
    charts = report_charts.distribution(MEASURE, [one, other], names)
    charts += report_charts.gain_chart(MEASURE, [one], snrs, other, names)
    charts += report_charts.calls_chart(MEASURE, [one, other], {"a": 1, "b": 60}, None)
    assert charts.count("<svg") == 3
    assert not re.search(r"nan|inf", charts)


def test_no_chart_without_values():
    empty = series("a", [np.nan])
    assert report_charts.distribution(MEASURE, [empty], ["0.wav"]) == ""
    assert report_charts.gain_chart(MEASURE, [empty], np.zeros(1), empty, ["0.wav"]) == ""
    assert report_charts.calls_chart(MEASURE, [empty], {"a": 1}, None) == ""


def luminance(color: str) -> float:
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


def test_colors_have_the_contrast_that_wcag_asks_for():
    schemes = re.findall(r":root \{(.*?)\}", (FOLDER / "report.css").read_text(), re.DOTALL)
    assert len(schemes) == 2
    for scheme in schemes:
        colors = dict(re.findall(r"--([\w-]+): (#\w{6});", scheme))

        def contrast(one: str, other: str, colors=colors) -> float:
            low, high = sorted((luminance(colors[one]), luminance(colors[other])))
            return (high + 0.05) / (low + 0.05)

        for paper in ("page", "surface", "raised", "tint"):
            for ink in ("text", "quiet", "accent", "gain", "loss", "warning"):
                assert contrast(ink, paper) >= 4.5, (ink, paper)
        assert contrast("on-accent", "accent") >= 4.5
        assert all(contrast(f"c{i}", "surface") >= 3 for i in range(8))


def test_templates_are_installed_and_fit_on_their_page():
    setup = configparser.RawConfigParser()
    setup.read(Path(__file__).parents[2] / "setup.cfg")
    patterns = setup["options.package_data"]["rosecd_jax.evaluation"].split()
    installed = {path for pattern in patterns for path in FOLDER.glob(pattern)}
    assert set(TEMPLATES) == installed
    assert {path.name for path in TEMPLATES} >= {"report.html", "report.css", *report.SCRIPTS}
    for path in TEMPLATES:
        lines = path.read_text("utf-8").splitlines()
        assert len(lines) <= 400
        assert max(map(len, lines)) <= 200  # nothing is minified


def test_the_command_prints_where_the_report_is(directory):
    result = CliRunner().invoke(app, ["report", str(directory), "--measure", "si_sdr", "--play", HOSTILE])
    assert result.exit_code == 0, result.output
    assert result.output.strip() == str(directory / "report.html")
    page = Page((directory / "report.html").read_text("utf-8"))
    assert [words for a, words in page.all("option") if "selected" in a] == ["SI-SDR", "SI-SDR"]
    assert len(page.all("article", "card")) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--measure", "nobody"], "no measure nobody in these results; they hold pesq, si_sdr, lsd, level"),
        (["--play", "nobody.wav"], "no file nobody.wav in this evaluation"),
        (["--ratings", "nobody.json"], "nobody.json: cannot be read"),
    ],
)
def test_a_wrong_name_is_an_error_of_one_line(directory, words, message):
    result = CliRunner().invoke(app, ["report", str(directory), *words])
    assert result.exit_code == 1
    assert message in result.output
    assert "Traceback" not in result.output


def test_results_that_lack_something_are_refused(tmp_path, results):
    (tmp_path / "results.json").write_text(json.dumps({**results, "baseline": ""}).replace("baseline", "b"))
    with pytest.raises(ValueError, match="its results lack baseline; evaluate again"):
        write_report(tmp_path)


def test_damaged_times_are_named(tmp_path):
    directory = write_results(tmp_path, pairs(1))
    (directory / "times.json").write_text("{")
    with pytest.raises(ValueError, match=r"times\.json: damaged"):
        write_report(directory)
