"""Reading and averaging of ratings from blind listening sessions, as saved by a report."""

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from rosecd_jax.evaluation.statistics import Interval, mean_interval

__all__ = ["RATINGS_FORMAT", "REFERENCE", "Comparison", "Ratings", "Score", "read_ratings"]

RATINGS_FORMAT = 1
REFERENCE = None
"""The `system` of the hidden reference, the clean recording."""
KINDS = ("mushra", "preference")
# ITU-R BS.1534 excludes listeners who rate more than 15 % of the hidden references below 90.
REFERENCE_LEAST, REFERENCE_SHARE = 90, 0.15


@dataclasses.dataclass(frozen=True)
class Score:
    """One rating from 0 to 100; `system` is None for the hidden reference."""

    file: str
    system: str | None
    score: float
    sound: str = ""


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two systems compared on a file, and the preferred one, or None for neither."""

    file: str
    systems: tuple[str, str]
    preferred: str | None
    sounds: tuple[str, str] = ("", "")


@dataclasses.dataclass(frozen=True)
class Session:
    """One listener's session.

    Attributes:
      path: source file.
      name: random, so that the same session isn't counted twice.
      kind: "mushra" or "preference".
      listener: name, as the listener gave it; may be empty.
    """

    path: str
    name: str
    kind: str
    listener: str
    scores: tuple[Score, ...] = ()
    comparisons: tuple[Comparison, ...] = ()

    def warning(self) -> str:
        """Return the reason why BS.1534 would exclude this listener, or ""."""
        hidden = [score.score for score in self.scores if score.system is REFERENCE]
        low = sum(score < REFERENCE_LEAST for score in hidden)
        if not hidden or low <= REFERENCE_SHARE * len(hidden):
            return ""
        return (
            f"{low} of {len(hidden)} hidden references were rated below {REFERENCE_LEAST}: "
            "ITU-R BS.1534 would exclude this listener"
        )


@dataclasses.dataclass(frozen=True)
class Ratings:
    """All sessions."""

    sessions: tuple[Session, ...] = ()

    def score(self, system: str | None) -> tuple[Interval, int] | None:
        """Return the mean of a system's ratings, 0 to 100, with its interval, and their number."""
        mine = (s.score for session in self.sessions for s in session.scores if s.system == system)
        return _mean(mine, 100.0)

    def preference(self, system: str) -> tuple[Interval, int] | None:
        """Return the share of comparisons in which a system was preferred; "no difference" counts half."""
        mine = [c for session in self.sessions for c in session.comparisons if system in c.systems]
        return _mean((0.5 if c.preferred is None else float(c.preferred == system) for c in mine), 1.0)

    def sounds(self) -> set[tuple[str, str | None, str]]:
        """Return the sounds that were heard: file, system and fingerprint."""
        found = {(s.file, s.system, s.sound) for session in self.sessions for s in session.scores}
        for comparison in (c for session in self.sessions for c in session.comparisons):
            pairs = zip(comparison.systems, comparison.sounds, strict=True)
            found |= {(comparison.file, system, sound) for system, sound in pairs}
        return {entry for entry in found if entry[2]}


def _mean(values: Iterable[float], highest: float) -> tuple[Interval, int] | None:
    """Compute mean and interval of values from 0 to `highest`, with the interval clipped to them."""
    known = list(values)
    if not known:
        return None
    found = mean_interval(known)
    low, high = (min(max(end, 0.0), highest) for end in (found.low, found.high))
    return found._replace(low=low, high=high) if len(known) > 1 else found, len(known)


def read_ratings(paths: Sequence[Path], results: Mapping[str, Any]) -> Ratings:
    """Read rating files of the evaluation whose results.json is `results`.

    Raises:
      ValueError: naming a file that is damaged, rates unknown systems or files, or repeats a session.
    """
    files = {entry["file"] for entry in results["files"]}
    systems = {system["name"] for system in results["systems"]}
    sessions: dict[str, Session] = {}
    for path in paths:
        session = _Reader(path, files, systems).session()
        if other := sessions.get(session.name):
            raise ValueError(f"{path}: holds the same session as {other.path}; give it once")
        sessions[session.name] = session
    return Ratings(tuple(sessions.values()))


class _Reader:
    """Reader of one file, which names it in every error."""

    def __init__(self, path: Path, files: set[str], systems: set[str]) -> None:
        self.path, self.files, self.systems = path, files, systems

    def session(self) -> Session:
        content = self.object(self.read(), "the file")
        if content.get("format") != RATINGS_FORMAT:
            self.fail(f"format is {content.get('format')!r}, expected {RATINGS_FORMAT}")
        kind = content.get("kind")
        if kind not in KINDS:
            self.fail(f"kind is {kind!r}, expected one of {', '.join(KINDS)}")
        trials = content.get("trials")
        if not isinstance(trials, list) or not trials:
            self.fail("it has no trials")
        scores: list[Score] = []
        comparisons: list[Comparison] = []
        for number, item in enumerate(trials, 1):
            where = f"trial {number}"
            trial = self.object(item, where)
            file = self.known(trial.get("file"), self.files, f"{where}: file")
            if kind == "mushra":
                scores += self.scores(trial, file, where)
            else:
                comparisons.append(self.comparison(trial, file, where))
        name, listener = (self.text(content.get(key), key) for key in ("session", "listener"))
        return Session(str(self.path), name, str(kind), listener, tuple(scores), tuple(comparisons))

    def read(self) -> Any:
        try:
            return json.loads(self.path.read_text("utf-8"))
        except OSError as error:
            raise ValueError(f"{self.path}: cannot be read ({error.strerror}); check the path") from error
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{self.path}: not JSON ({error}); save the ratings again") from error

    def scores(self, trial: Mapping[str, Any], file: str, where: str) -> list[Score]:
        items = trial.get("scores")
        if not isinstance(items, list) or not items:
            self.fail(f"{where} has no scores")
        found = []
        for item in items:
            entry = self.object(item, where)
            system = entry.get("system")
            if system is not REFERENCE:
                system = self.known(system, self.systems, f"{where}: system")
            score = self.number(entry.get("score"), where)
            found.append(Score(file, system, score, self.text(entry.get("sound", ""), "sound")))
        if len({score.system for score in found}) < len(found):
            self.fail(f"{where}: a system is rated twice")
        return found

    def comparison(self, trial: Mapping[str, Any], file: str, where: str) -> Comparison:
        pair, sounds = trial.get("systems"), trial.get("sounds", ["", ""])
        if not isinstance(pair, list) or len(pair) != 2 or pair[0] == pair[1]:
            self.fail(f"{where}: systems is {pair!r}, expected two different names")
        if not isinstance(sounds, list) or len(sounds) != 2:
            self.fail(f"{where}: sounds is {sounds!r}, expected two")
        first, second = (self.known(name, self.systems, f"{where}: system") for name in pair)
        preferred = trial.get("preferred")
        if preferred is not None and preferred not in pair:
            self.fail(f"{where}: preferred is {preferred!r}, expected one of {pair} or null")
        one, two = (self.text(sound, "sound") for sound in sounds)
        return Comparison(file, (first, second), preferred, (one, two))

    def object(self, value: Any, what: str) -> Mapping[str, Any]:
        if not isinstance(value, dict):
            self.fail(f"{what} holds a {type(value).__name__}, expected an object")
        return value

    def number(self, value: Any, where: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100:
            self.fail(f"{where}: score is {value!r}, expected a number from 0 to 100")
        return float(value)

    def text(self, value: Any, what: str) -> str:
        if not isinstance(value, str):
            self.fail(f"{what} is {value!r}, expected a text")
        return value

    def known(self, value: Any, names: set[str], what: str) -> str:
        if not isinstance(value, str) or value not in names:
            self.fail(f"{what} {value!r} is not in this evaluation", "give ratings of this report")
        return value

    def fail(self, reason: str, remedy: str = "save the ratings again from the report") -> NoReturn:
        raise ValueError(f"{self.path}: {reason}; {remedy}")
