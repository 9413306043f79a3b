"""Reports of enhanced files, and their summary as a line and as JSON."""

import dataclasses
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from rosecd_jax.atomic import write_text
from rosecd_jax.audio import io

Status = Literal["enhanced", "kept", "failed", "left", "skipped"]


class Report(NamedTuple):
    """Outcome of one file.

    Attributes:
      source, target: paths of input and output.
      status: "enhanced", "kept" (from an earlier run), "failed", "left" (the run ended before), or "skipped"
        (audio in an unsupported format, such as .m4a).
      seconds: length, as far as known.
      error: reason for a failure, else empty.
      clipped: number of samples clipped to the range of the target's encoding.
      limited: seconds of loud events that were limited to the level of the rest, see `audio.level`.
    """

    source: Path
    target: Path
    status: Status
    seconds: float
    error: str = ""
    clipped: int = 0
    limited: float = 0.0


@dataclasses.dataclass
class Summary:
    """Reports of a run, collected while it runs.

    Attributes:
      settings: options of the run; JSON-serializable.
      reports: one per file.
      state: "running", "finished", or the reason for an early end.
      compiling: seconds spent compiling.
    """

    settings: dict[str, Any]
    reports: list[Report] = dataclasses.field(default_factory=list)
    state: str = "running"
    started: float = dataclasses.field(default_factory=time.time)
    compiling: float = 0.0

    @property
    def counts(self) -> dict[str, int]:
        """Number of files by status."""
        counted = Counter(report.status for report in self.reports)
        return {status: counted[status] for status in get_args(Status)}

    @property
    def audio_seconds(self) -> float:
        """Seconds of enhanced audio."""
        return sum(report.seconds for report in self.reports if report.status == "enhanced")

    @property
    def clipped(self) -> int:
        """Number of samples clipped to full scale, in all files."""
        return sum(report.clipped for report in self.reports)

    @property
    def times_real_time(self) -> float:
        """Seconds of audio per second of run time without compilation."""
        return self.audio_seconds / max(time.time() - self.started - self.compiling, 1e-3)

    def line(self, target: Path) -> str:
        """Summarize the run in one line."""
        counts, elapsed = self.counts, time.time() - self.started
        others = ", ".join(f"{n} {status}" for status, n in counts.items() if n and status != "enhanced")
        skipped = {report.source.suffix.lower() for report in self.reports if report.status == "skipped"}
        others += "".join(f" {suffix}" for suffix in sorted(skipped))
        words = f"{counts['enhanced']} of {len(self.reports)} files enhanced into {target}"
        words += f" ({others})" if others else ""
        if counts["enhanced"]:
            words += f": {self.audio_seconds:.1f} s of audio in {elapsed:.1f} s"
            words += f", {self.compiling:.1f} s of them compiling" if self.compiling >= 0.05 else ""
            words += f"; {self.times_real_time:.1f} times real time"
        if self.clipped:
            files = sum(report.clipped > 0 for report in self.reports)
            words += f"; {self.clipped} samples of {files} files were clipped"
            words += " (--format wav --subtype FLOAT keeps them)"
        if limited := [report.limited for report in self.reports if report.limited]:
            words += f"; loud events in {len(limited)} files ({sum(limited):.2f} s) were limited"
        return words

    def write(self, path: Path) -> None:
        """Write JSON atomically, creating folders.

        Raises:
          ValueError: if the file can't be written, or exists and is not a report.
        """
        elapsed = time.time() - self.started
        content = {
            "state": self.state,
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.started)),
            "seconds": round(elapsed, 3),
            "audio_seconds": round(self.audio_seconds, 3),
            "compiling_seconds": round(self.compiling, 3),
            "times_real_time": round(self.times_real_time, 3),
            "clipped_samples": self.clipped,
            "settings": self.settings,
            "counts": self.counts,
            "files": [
                {**report._asdict(), "source": str(report.source), "target": str(report.target)}
                for report in self.reports
            ],
        }
        if path.suffix.lower() in io.FORMATS or (path.exists() and not _is_report(path)):
            raise ValueError(f"{path}: is not a report, or has an audio suffix; choose another name")
        try:
            write_text(path, json.dumps(content, indent=1) + "\n")
        except OSError as error:
            raise ValueError(f"{path}: can't be written ({error.strerror}); choose another path") from error


def _is_report(path: Path) -> bool:
    if not path.is_file():  # reading a pipe would block
        return False
    try:
        return {"state", "counts", "files"} <= set(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return False
