"""Progress of a run: a bar with rate and remaining time, log lines, curves."""

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import jax
import numpy as np

from rosecd_jax.training.config import TrainConfig
from rosecd_jax.training.curves import Curves
from rosecd_jax.training.operations import peak_tflops
from rosecd_jax.training.status import SILENCE, Status
from rosecd_jax.training.step import Metrics

EARLY_STEPS = 10


class Progress:
    """Logger that fetches numbers from the device only every `log_every` steps. Use as a context manager.

    Rates exclude the first step, which compiles, validations and checkpoints. During the first ten steps a
    line is logged at least every few seconds.

    Args:
      start: current step of the run.
      audio_seconds: length of a crop in seconds.
      echo: receives the lines.
      operations: returns the floating-point operations per example, or None if unknown; called once, at the
        first rate.
    """

    def __init__(
        self,
        config: TrainConfig,
        start: int,
        audio_seconds: float,
        curves: Curves,
        echo: Status,
        operations: Callable[[], float | None] = lambda: None,
    ) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
        )
        self.config, self.curves, self.echo = config, curves, echo
        self.audio_seconds, self.start = audio_seconds, start
        self.waiting: list[Metrics] = []
        self.counted, self.seconds, self.data_seconds, self.since = 0, 0.0, 0.0, time.perf_counter()
        self.operations = functools.cache(operations)
        console = Console()
        self.bar = Bar(*columns, console=console, transient=True, disable=not console.is_terminal)
        self.task = self.bar.add_task(config.objective, total=config.steps, completed=start, rate="compiling")

    def __enter__(self) -> "Progress":
        self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.stop()

    def step(self, step: int) -> AbstractContextManager[None]:
        """Return a context for computing a step; one of the first steps is logged if it takes long."""
        early = step <= self.start + EARLY_STEPS
        return self.echo.doing(f"step {step}", announce=False) if early else nullcontext()

    def add(self, step: int, metrics: Metrics) -> dict[str, float]:
        """Record the metrics of a step; return their means since the last line, if a line is due."""
        self.waiting.append(metrics)
        if step == self.start + 1:
            called = time.perf_counter()  # compiled and running
            jax.block_until_ready(metrics)
            self.seconds, self.data_seconds, self.since = 0.0, 0.0, time.perf_counter()
            seconds = self.since - called
            self.echo(f"first step: {seconds:.2f} s, done {self.echo.seconds:.1f} s after the start")
        else:
            self.counted += 1
        self.bar.update(self.task, completed=step)
        overdue = step <= self.start + EARLY_STEPS and self.echo.silence > SILENCE
        if step % self.config.log_every and step != self.config.steps and not overdue:
            return {}
        return self._log(step)

    @contextmanager
    def waiting_for_data(self) -> Iterator[None]:
        """Return a context that measures the time spent waiting for the loader."""
        start = time.perf_counter()
        with jax.profiler.TraceAnnotation("wait for data"):
            yield
        self.data_seconds += time.perf_counter() - start

    def pause(self) -> None:
        """Pause the measurement of the rate, until `unpause`."""
        jax.block_until_ready(self.waiting[-1:])
        self.seconds += time.perf_counter() - self.since

    def unpause(self) -> None:
        """Continue the measurement of the rate."""
        self.since = time.perf_counter()

    def _log(self, step: int) -> dict[str, float]:
        fetched = jax.device_get(self.waiting)
        self.seconds += time.perf_counter() - self.since
        means = {name: float(np.mean([m[name] for m in fetched])) for name in fetched[0]}
        means |= {name: float(fetched[-1][name]) for name in ("learning_rate", "skipped") if name in means}
        means["skipped_in_a_row"] = float(max(metrics["skipped_in_a_row"] for metrics in fetched))
        rates = self._rates() if self.counted else {}
        curves = {f"train/{name}": value for name, value in means.items() if name != "skipped_in_a_row"}
        self.curves.scalars(curves | {f"train/{name}": value for name, value in rates.items()}, step)
        self.echo(self._line(step, means, rates))
        self.waiting, self.counted = [], 0
        self.seconds, self.data_seconds, self.since = 0.0, 0.0, time.perf_counter()
        return means

    def _rates(self) -> dict[str, float]:
        """Compute the rates since the last line, over all devices, and the fraction of their peak (MFU)."""
        self.bar.update(self.task, rate=f"{self.counted / self.seconds:.2f} steps/s")
        rate = self.counted * self.config.data.batch_size * self.config.optimizer.accumulate / self.seconds
        rates = {
            "examples_per_second": rate,
            "audio_seconds_per_second": rate * self.audio_seconds,
            "data_wait": self.data_seconds / self.seconds,
        }
        if operations := self.operations():
            rates["tflops_per_second"] = rate * operations / 1e12
            if peak := peak_tflops(self.config):
                rates["mfu"] = rates["tflops_per_second"] / (peak * jax.device_count())
        return rates

    def _line(self, step: int, means: dict[str, float], rates: dict[str, float]) -> str:
        terms = {name: value for name, value in means.items() if not name.startswith("skipped")}
        norm, learning_rate = terms.pop("gradient_norm"), terms.pop("learning_rate", None)
        loss = terms.pop("loss")
        words = [f"step {step}/{self.config.steps}", f"loss {loss:.4g}"]
        words += [f"{name} {value:.4g}" for name, value in terms.items()]
        words += [f"learning rate {learning_rate:.3g}"] if learning_rate is not None else []
        words += [f"gradient norm {norm:.4g}"]
        words += _words(rates) if rates else []
        if means["skipped"]:
            words.append(f"{means['skipped']:.0f} steps skipped so far")
        return "  ".join(words)


def _words(rates: dict[str, float]) -> list[str]:
    """Format the rates of a log line."""
    words = [f"{rates['examples_per_second']:.1f} examples/s"]
    words += [f"{rates['audio_seconds_per_second']:.1f} s of audio/s"]
    if tflops := rates.get("tflops_per_second"):
        rate = f"{tflops:.1f} TFLOP/s" if tflops >= 1 else f"{1000 * tflops:.1f} GFLOP/s"
        words += [f"{rate} ({100 * rates['mfu']:.1f} % of peak)" if "mfu" in rates else rate]
    return [*words, f"{100 * rates['data_wait']:.1f} % waiting for data"]
