"""Check of a folder of pairs: files are measured in other processes, then judged together."""

import dataclasses
import itertools
import json
import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from rosecd_jax.atomic import write_text
from rosecd_jax.config import plain_json
from rosecd_jax.evaluation.check import files, names, pairs
from rosecd_jax.evaluation.check.facts import Facts, Pair, Side, measure
from rosecd_jax.evaluation.check.finding import SEVERITIES, Finding
from rosecd_jax.evaluation.check.voicebank import is_test_set, voicebank
from rosecd_jax.evaluation.tables import is_reverberant
from rosecd_jax.processes import Job, Workers

JUDGES: tuple[Callable[[Sequence[Facts]], Any], ...] = (
    names.names,
    files.unreadable,
    files.silence,
    pairs.pair_rates,
    pairs.pair_channels,
    pairs.lengths,
    pairs.swapped,
    pairs.equal,
    pairs.unlike,
    pairs.delays,
    pairs.gains,
    files.rates,
    files.channels,
    files.short,
    files.level,
    files.clipping,
    files.offset,
    files.bandwidth,
    files.duplicates,
    pairs.snrs,
    voicebank,
)
"""Pure functions of all facts that yield findings; findings of one severity are in this order."""
AHEAD = 8  # queued jobs per process
PAIRS_PER_PROCESS = 12  # measured in about the time that a process takes to start


@dataclasses.dataclass(frozen=True)
class Report:
    """Findings and measurements of a data set."""

    data: Path
    facts: tuple[Facts, ...]
    findings: tuple[Finding, ...]

    @property
    def pairs(self) -> int:
        """Number of clean files with a noisy one."""
        return sum(1 for one in self.facts if one.clean and one.noisy)

    @property
    def seconds(self) -> float:
        """Total length of the clean files."""
        return sum(one.clean.seconds for one in self.facts if one.clean)

    def number(self, severity: str) -> int:
        """Count the findings of a severity."""
        return sum(finding.severity == severity for finding in self.findings)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write findings and measurements as JSON; undefined values are null.

        Raises:
          OSError: if it can't be written.
        """
        content = {
            "format": 1,
            "data": str(self.data),
            "pairs": self.pairs,
            "seconds": self.seconds,
            "findings": [dataclasses.asdict(finding) for finding in self.findings],
            "facts": [_described(one) for one in self.facts],
        }
        write_text(Path(path), json.dumps(plain_json(content), indent=1, ensure_ascii=False) + "\n")


def check(
    data: str | os.PathLike[str],
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Finding]:
    """Find problems in paired recordings before evaluation and training.

    Args:
      data: folder with clean/ and noisy/, or with folders (splits) that hold these two.
      workers: number of processes that measure; 0: only this one; None: chosen by the number of files and
        processors.
      progress: called with (pairs done, total pairs).

    Returns:
      Findings, the most serious first.

    Raises:
      AudioError: if there are no such folders, or no audio files in one of them.
    """
    return list(examine(data, workers=workers, progress=progress).findings)


def examine(
    data: str | os.PathLike[str],
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Find problems as `check` does, and also return the measurements of each pair."""
    found, findings = names.find_pairs(Path(data))
    if workers is None:
        workers = min(os.cpu_count() or 1, len(found) // PAIRS_PER_PROCESS)
        workers = workers if workers > 1 else 0
    scored = {
        split
        for split, group in itertools.groupby(found, lambda pair: pair.split)
        if is_test_set([pair.clean for pair in group if pair.clean])
    }
    jobs = [(pair, pair.split in scored) for pair in found]
    facts = []
    for done, one in enumerate(_measured(jobs, workers), start=1):
        facts.append(one)
        if progress:
            progress(done, len(found))
    for judge in JUDGES:
        findings += judge(facts)
    if all(is_reverberant(Path(data, split)) for split in {pair.split for pair in found}):
        findings = [_of_rooms(finding) for finding in findings]
    findings.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    return Report(Path(data), tuple(facts), tuple(findings))


def _of_rooms(finding: Finding) -> Finding:
    """Adapt a finding to a reverberant set, in which delays and gains are those of the rooms."""
    if finding.kind not in ("delay", "gain"):
        return finding
    message = f"{finding.message}: by the rooms of a reverberant set; SI-SIR and SI-SAR are meaningless"
    return dataclasses.replace(finding, severity="information", message=message, remedy="")


def _measured(jobs: Sequence[tuple[Pair, bool]], workers: int) -> Any:
    """Measure each pair, in order; each process holds the waves of one pair in memory."""
    if not workers:
        yield from (measure(*job) for job in jobs)
        return
    with Workers(workers) as pool:
        waiting: deque[Job[Facts]] = deque()
        for job in jobs:
            waiting.append(pool.submit(measure, *job))
            if len(waiting) >= AHEAD * workers:
                yield _facts(pool, waiting.popleft())
        yield from (_facts(pool, job) for job in waiting)


def _facts(pool: Workers, job: Job[Facts]) -> Facts:
    try:
        return pool.result(job)
    except BrokenProcessPool:
        pair: Pair = job.arguments[0]
        error = "the process that read it died; remove the file"
        sides = (Side(file, "unreadable", f"{file}: {error}") if file else None for file in pair[2:])
        return Facts(pair.split, next(sides), next(sides))


def _described(facts: Facts) -> dict[str, Any]:
    described = dataclasses.asdict(facts)
    described["scores"] = facts.scores._asdict() if facts.scores else None
    if facts.relation:
        described["relation"]["snr_db"] = facts.relation.snr_db
    return described
