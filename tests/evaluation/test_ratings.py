"""Ratings of blind sessions: averaged per system, shown in the report, and refused where they are damaged."""

import copy
import json

import pytest

from rosecd_jax.audio import io
from rosecd_jax.evaluation.ratings import REFERENCE, read_ratings
from rosecd_jax.evaluation.report import write_report
from tests.evaluation.results_folder import RATE, pairs, write_results

FILES = [name for name, *_ in pairs(3)]
SCORES: dict[str | None, tuple[int, int, int]] = {
    "noisy": (20, 30, 10),
    "small": (80, 70, 90),
    REFERENCE: (100, 95, 50),
}
MUSHRA = {
    "format": 1,
    "kind": "mushra",
    "session": "ab12",
    "listener": "Ann <b>",
    "time": "2026-01-01T00:00:00Z",
    "level_matched": False,
    "trials": [
        {"file": file, "scores": [{"system": s, "score": v[i], "sound": ""} for s, v in SCORES.items()]}
        for i, file in enumerate(FILES)
    ],
}
PREFERENCE = {
    "format": 1,
    "kind": "preference",
    "session": "cd34",
    "listener": "",
    "trials": [
        {"file": FILES[0], "systems": ["noisy", "small"], "sounds": ["", ""], "preferred": "small"},
        {"file": FILES[1], "systems": ["small", "noisy"], "sounds": ["", ""], "preferred": None},
    ],
}


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return write_results(tmp_path_factory.mktemp("evaluation"), pairs(3))


@pytest.fixture(scope="module")
def results(directory):
    return json.loads((directory / "results.json").read_text("utf-8"))


def save(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return path


def test_scores_and_preferences_are_averaged_per_system(tmp_path, results):
    files = [save(tmp_path / "a.json", MUSHRA), save(tmp_path / "b.json", PREFERENCE)]
    ratings = read_ratings(files, results)
    found = ratings.score("small")
    assert found
    interval, count = found
    assert (interval.mean, count) == (pytest.approx(80), 3)
    assert interval.low <= interval.mean <= interval.high
    assert ratings.score("teacher-5") is None
    shares = [ratings.preference(system) for system in ("small", "noisy")]
    assert [share and share[0].mean for share in shares] == pytest.approx([0.75, 0.25])
    assert ratings.preference("teacher-5") is None


def test_ratings_come_back_into_the_table(tmp_path, directory):
    files = [save(tmp_path / "a.json", MUSHRA), save(tmp_path / "b.json", PREFERENCE)]
    text = write_report(directory, files).read_text("utf-8")
    summary = text[text.index('<table class="summary">') : text.index("</table>")]
    assert "Listening, MUSHRA" in summary
    assert "<span>80</span> <small>" in summary
    assert "3 ratings" in summary
    assert "Listening, preferred" in summary
    assert "<span>75\u202f%</span>" in summary
    assert "Ann &lt;b&gt;: MUSHRA, 9 ratings." in text
    assert "1 of 3 hidden references were rated below 90" in text
    assert "MUSHRA" not in write_report(directory).read_text("utf-8").split("</table>")[0]


def change(path, value):
    """MUSHRA with another value at a path of keys."""
    changed = copy.deepcopy(MUSHRA)
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return changed


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "the file holds a list, expected an object"),
        (change(["format"], 2), "format is 2, expected 1"),
        (change(["kind"], "taste"), "kind is 'taste', expected one of mushra, preference"),
        (change(["session"], None), "session is None, expected a text"),
        (change(["trials"], []), "it has no trials"),
        (change(["trials"], {}), "it has no trials"),
        (change(["trials", 1], 3), "trial 2 holds a int"),
        (change(["trials", 1, "file"], "x.wav"), "trial 2: file 'x.wav' is not in this evaluation"),
        (change(["trials", 0, "file"], ["x"]), "trial 1: file ['x'] is not in this evaluation"),
        (change(["trials", 0, "scores"], None), "trial 1 has no scores"),
        (change(["trials", 0, "scores", 0, "system"], "x"), "system 'x' is not in this evaluation"),
        (change(["trials", 0, "scores", 0, "system"], "small"), "a system is rated twice"),
        (change(["trials", 0, "scores", 0, "score"], 101), "score is 101, expected a number from 0 to 100"),
        (change(["trials", 0, "scores", 0, "score"], float("nan")), "score is nan"),
        (change(["trials", 0, "scores", 0, "score"], True), "score is True"),
        (change(["trials", 0, "scores", 0, "score"], "9"), "score is '9'"),
        (change(["trials", 0, "scores", 0, "sound"], 9), "sound is 9"),
        (
            {**PREFERENCE, "trials": [{"file": FILES[0], "systems": ["small"]}]},
            "systems is ['small'], expected two different names",
        ),
        (
            {**PREFERENCE, "trials": [{**PREFERENCE["trials"][0], "sounds": 3}]},
            "sounds is 3, expected two",
        ),
        (
            {**PREFERENCE, "trials": [{**PREFERENCE["trials"][0], "preferred": "teacher-5"}]},
            "preferred is 'teacher-5', expected one of ['noisy', 'small'] or null",
        ),
    ],
)
def test_damaged_ratings_are_refused_with_file_and_reason(tmp_path, results, content, message):
    path = save(tmp_path / "damaged.json", content)
    with pytest.raises(ValueError, match=r"damaged\.json: ") as caught:
        read_ratings([path], results)
    assert message in str(caught.value)
    assert str(caught.value).count("\n") == 0


def test_a_session_counts_once(tmp_path, results):
    files = [save(tmp_path / "a.json", MUSHRA), save(tmp_path / "copy.json", MUSHRA)]
    with pytest.raises(ValueError, match=r"copy\.json: holds the same session as .*a\.json"):
        read_ratings(files, results)


def test_ratings_of_a_sound_that_has_changed_are_refused(tmp_path):
    directory = write_results(tmp_path, pairs(3))
    text = write_report(directory).read_text("utf-8")
    data = json.loads(text.split('id="data">')[1].split("</script>")[0])
    card = data["cards"][0]
    trial = {"file": card["file"], "scores": []}
    for sound in card["sounds"]:
        trial["scores"].append({"system": sound["system"], "score": 50, "sound": sound["fingerprint"]})
    path = save(tmp_path / "a.json", {**MUSHRA, "trials": [trial]})
    write_report(directory, [path])
    io.write(directory / "small" / card["file"], pairs(1)[0][2], RATE)
    with pytest.raises(ValueError, match="small has changed since it was rated"):
        write_report(directory, [path])
