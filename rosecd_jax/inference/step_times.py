"""Computation times of a stream's steps."""

import collections
import dataclasses

import numpy as np

RECENT = 100_000
"""Number of steps whose times are kept for percentiles; a stream may run for months."""


@dataclasses.dataclass
class StepTimes:
    """Times of steps in seconds, compared with the hop.

    Attributes:
      hop: seconds of signal per step.
      count: steps so far. A step's time includes all work since the previous step, such as resampling.
      total: total time of the steps.
      longest: time of the slowest step.
      under_runs: number of steps that took longer than the hop, at which live output falls behind.
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
        """Return a percentile of the recent steps' times in seconds; 0 before the first step."""
        return float(np.percentile(list(self.recent), percent)) if self.recent else 0.0

    @property
    def mean(self) -> float:
        """Mean time of a step in seconds; 0 before the first step."""
        return self.total / max(1, self.count)

    @property
    def real_time_factor(self) -> float:
        """Seconds of computation per second of signal; below 1 the stream keeps up."""
        return self.mean / self.hop
