"""A folder of files compared with one file at a time: python -m benchmarks.folder [CHECKPOINT]

Makes 200 files of 0.5 to 20 s and enhances them: as a folder with an empty cache of compiled programs; as a
folder with a filled cache; and one file at a time, each padded to a multiple of 64 frames as in the papers.
Each is repeated with all programs compiled. Prints the number of programs, their compile time, and seconds of
audio per second. Without a checkpoint, the model is an untrained student of the demonstration's size.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.streaming import fresh_student
from rosecd_jax import Enhancer, save_checkpoint
from rosecd_jax.audio import io
from rosecd_jax.processes import keep_freed_memory


def measure(manner: str, checkpoint: Path, source: Path, target: Path) -> None:
    """Run one measurement, in a process of its own, and print its results as JSON."""
    keep_freed_memory(2**25)
    files = io.find(source)
    audio = sum(io.info(file).samples for file in files) / 16_000
    alone = {"buckets": (), "batch_frames": 0}
    enhancer = Enhancer.from_checkpoint(checkpoint, **({} if manner == "folder" else alone))

    def work() -> float:
        start = time.perf_counter()
        if manner == "folder":
            reports = list(enhancer.enhance_folder(source, target, existing="overwrite"))
            assert all(report.status == "enhanced" for report in reports)
        else:
            for file in files:
                enhancer.enhance_file(file, target / file.name)
        return time.perf_counter() - start

    first = work()
    programs = enhancer.programs.compiled, enhancer.programs.compile_seconds
    print(json.dumps([audio, *programs, first, work()]))


def main(checkpoint: Path | None, count: int) -> None:
    """Make the files, run the measurements, and print the table."""
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        if checkpoint is None:
            checkpoint = save_checkpoint(here / "student", *fresh_student())
        generator = np.random.default_rng(0)
        for number, seconds in enumerate(generator.uniform(0.5, 20, count)):
            wave = generator.normal(scale=0.1, size=int(16_000 * seconds))
            io.write(here / "in" / f"{number:03}.wav", wave, 16_000)
        environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(here / "cache")}
        print(f"{'':34}programs  compiling  first run  with all compiled (s of audio per s)")
        speeds, alone = {}, "one at a time, exact lengths"
        for name in ("folder, empty cache", "folder, from the cache", alone):
            manner = "folder" if name != alone else "alone"
            words = [sys.executable, "-m", "benchmarks.folder", "--measure", manner]
            words += [str(path) for path in (checkpoint, here / "in", here / "out")]
            done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
            audio, programs, compiling, first, warm = json.loads(done.stdout)
            speeds[name] = audio / first, audio / warm
            print(
                f"{name:34}{programs:8}{compiling:9.1f} s{audio / first:11.1f}{audio / warm:10.1f}",
                flush=True,
            )
        first, warm = (f / a for f, a in zip(speeds["folder, empty cache"], speeds[alone], strict=True))
        print(f"folder against one at a time: {first:.2f} times as fast, with all compiled {warm:.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("checkpoint", type=Path, nargs="?")
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--measure", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure[0], *map(Path, options.measure[1:]))
    else:
        main(options.checkpoint, options.files)
