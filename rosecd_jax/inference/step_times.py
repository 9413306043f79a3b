"""How long the steps of a stream took."""

import collections
import dataclasses

import numpy as np

RECENT = 100_000
"""Steps whose times are kept for percentiles; a stream may run for months."""


@dataclasses.dataclass
class StepTimes:
    """Times of steps, in seconds, against the time that they have: the hop.

    Attributes:
      hop: seconds of signal that a step handles.
      count: steps so far. A step counts with all that was done for it since the one before: resampling, too.
      total: seconds that they took together.
      longest: seconds of the slowest.
      under_runs: steps that took longer than the hop; live, the output falls behind at these.
    """

    hop: float
    count: int = 0
    total: float = 0.0
    longest: float = 0.0
    under_runs: int = 0
    recent: collections.deque[float] = dataclasses.field(
        default_factory=lambda: collections.deque(maxlen=RECENT), repr=False
    )

    def record(self, seconds: float) -> None:
        """Count a step."""
        self.count += 1
        self.total += seconds
        self.longest = max(self.longest, seconds)
        self.under_runs += seconds > self.hop
        self.recent.append(seconds)

    def percentile(self, percent: float) -> float:
        """Of the times of the last steps, in seconds; 0 before the first."""
        return float(np.percentile(list(self.recent), percent)) if self.recent else 0.0

    @property
    def mean(self) -> float:
        """Seconds a step took on average; 0 before the first."""
        return self.total / max(1, self.count)

    @property
    def real_time_factor(self) -> float:
        """Seconds of computing per second of signal; below 1 the stream keeps up."""
        return self.mean / self.hop
