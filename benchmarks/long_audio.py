"""Time, memory and windows of long recordings: python -m benchmarks.long_audio [CHECKPOINT] [--minutes 60]

Enhances a recording of 6 minutes and one of an hour, each in its own process, with compiled programs, and
prints time and peak memory; then, for 60 s, the difference between enhancement in windows and of the whole
signal, at the joins and elsewhere, in dB of the whole signal's power, and the SI-SDR of each. The input
repeats a minute of the embedded corpus, with another voice and noise every few seconds. Without a checkpoint,
the model is an untrained student of the demonstration's size.
"""

import argparse
import dataclasses
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.streaming import fresh_student
from rosecd_jax import Enhancer, save_checkpoint
from rosecd_jax.audio import io
from rosecd_jax.data.corpus.synthetic import SyntheticCorpus, make_example
from rosecd_jax.inference.windows import plan_windows
from rosecd_jax.metrics import si_sdr
from rosecd_jax.processes import keep_freed_memory

RATE = 16_000


def speech_in_noise(seconds: int) -> tuple[np.ndarray, np.ndarray]:
    """Concatenate (clean, noisy) utterances of the embedded corpus's test split: float32 [samples]."""
    config, examples, samples = SyntheticCorpus(), [], 0
    while samples < seconds * RATE:
        examples.append(make_example(config, "test", len(examples)))
        samples += examples[-1].clean.size
    pairs = ([example.clean for example in examples], [example.noisy for example in examples])
    clean, noisy = (np.concatenate(waves)[: seconds * RATE] for waves in pairs)
    return clean, noisy


def measure(checkpoint: Path, source: Path, target: Path) -> None:
    """Enhance one file, and print seconds and peak memory in GB as JSON."""
    keep_freed_memory(2**25)
    enhancer = Enhancer.from_checkpoint(checkpoint)
    enhancer.prepare(RATE * 3600, RATE)
    start = time.perf_counter()
    enhancer.enhance_file(source, target)
    seconds = time.perf_counter() - start
    print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9]))


def report_seams(enhancer: Enhancer, clean: np.ndarray, wave: np.ndarray) -> None:
    """Print the difference between windows and the whole signal."""
    whole = dataclasses.replace(enhancer, limit=2.0 * wave.size / RATE)(wave, RATE)
    windowed = enhancer(wave, RATE)
    waves, hop = enhancer.waves, enhancer.model.front_end.hop
    plan = plan_windows(enhancer.model.front_end.frames(wave.size), waves.window, waves.unit)
    joins = np.zeros(wave.size, bool)
    for join in plan.joins:
        joins[(join - plan.fade // 2) * hop : (join + plan.fade // 2) * hop] = True
    error, power = (windowed - whole) ** 2, (whole**2).mean()
    for name, where in (("at the joins", joins), ("elsewhere", ~joins)):
        print(f"windows minus whole, {name}: {10 * np.log10(error[where].mean() / power):.1f} dB")
    for name, estimate in (("noisy", wave), ("whole", whole), ("in windows", windowed)):
        print(f"SI-SDR {name}: {si_sdr(clean, estimate):.2f} dB")


def main(checkpoint: Path | None, minutes: int) -> None:
    """Make the files, run the measurements, and print the results."""
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        if checkpoint is None:
            checkpoint = save_checkpoint(here / "student", *fresh_student())
        (clean, noisy), times = speech_in_noise(60), []
        for length in (6, minutes):
            with io.writing(here / "in.wav", RATE, 1) as put:
                for _ in range(length):
                    put(noisy[None])
            words = [sys.executable, "-m", "benchmarks.long_audio", "--measure"]
            words += [str(path) for path in (checkpoint, here / "in.wav", here / "out.wav")]
            done = subprocess.run(words, capture_output=True, text=True, check=True, env=os.environ)
            seconds, memory = json.loads(done.stdout)
            times.append(seconds)
            print(f"{length} minutes: {seconds:.1f} s, peak memory {memory:.2f} GB", flush=True)
        print(f"{minutes} minutes took {times[1] / times[0]:.2f} times as long as 6")
        report_seams(Enhancer.from_checkpoint(checkpoint), clean, noisy)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("checkpoint", type=Path, nargs="?")
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--measure", nargs=3, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(*options.measure)
    else:
        main(options.checkpoint, options.minutes)
