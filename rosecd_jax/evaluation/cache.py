"""Cache of scores, keyed by the content of the scored waves, so that repeated evaluations take seconds."""

import contextlib
import hashlib
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import platformdirs

RULES = "1"  # to be changed with this package's measures and its rule for undefined scores
WAIT_SECONDS = 60.0


def default_path() -> Path:
    """Return scores.sqlite3 in ROSECD_CACHE, or in the user's cache folder."""
    folder = os.environ.get("ROSECD_CACHE") or platformdirs.user_cache_dir("rosecd_jax")
    return Path(folder) / "scores.sqlite3"


def content_key(words: Iterable[str], waves: Iterable[np.ndarray]) -> str:
    """Compute a digest of words and waves (samples, shapes and dtypes)."""
    digest = hashlib.sha256("\0".join([RULES, *words]).encode())
    for wave in waves:
        digest.update(f"{wave.dtype.str}{wave.shape}".encode())
        digest.update(np.ascontiguousarray(wave).tobytes())
    return digest.hexdigest()


class ScoreCache(NamedTuple):
    """Lists of scores by key, in a SQLite file shared by processes.

    A file that is invalid or can't be written is treated as empty.
    """

    path: Path

    def get(self, key: str) -> list[float] | None:
        """Return the scores of a key, or None."""
        with contextlib.suppress(sqlite3.Error, OSError), self._open() as table:
            row = table.execute("SELECT scores FROM scores WHERE key = ?", (key,)).fetchone()
            return [float("nan") if value is None else value for value in json.loads(row[0])] if row else None
        return None

    def put(self, key: str, scores: Iterable[float]) -> None:
        """Store the scores of a key."""
        text = json.dumps([None if np.isnan(value) else float(value) for value in scores])
        with contextlib.suppress(sqlite3.Error, OSError), self._open() as table:
            table.execute("INSERT OR REPLACE INTO scores VALUES (?, ?)", (key, text))

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self.path, timeout=WAIT_SECONDS)
        try:
            with connection:  # a transaction
                connection.execute("CREATE TABLE IF NOT EXISTS scores (key TEXT PRIMARY KEY, scores TEXT)")
                yield connection
        finally:
            connection.close()
