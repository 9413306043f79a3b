"""Time from the start of a training run to its first step, with an empty and a filled cache of programs.

    python -m benchmarks.startup CONFIG [--config.key=value]...

    python -m benchmarks.startup configs/demo.py:teacher --config.data.path=demo/corpus

Starts train.py twice, with its own cache of compiled programs, which is empty the first time, and prints the
seconds from the start of the process to the end of each phase in the run's log.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
FIRST_STEP = "first step"


def phases(words: list[str], folder: Path, workdir: str) -> dict[str, float]:
    """Run to the first step; return the seconds from the start of the process to the end of each phase."""
    command = [
        sys.executable,
        str(ROOT / "train.py"),
        f"--config={words[0]}",
        f"--workdir={folder / workdir}",
    ]
    options = ["--config.steps=1", "--config.log_every=1", "--config.validation.every=0", *words[1:]]
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(folder), "PYTHONUNBUFFERED": "1"}
    start, found = time.perf_counter(), {}
    with subprocess.Popen(
        [*command, *options], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            seconds = time.perf_counter() - start
            lines.append(line)
            name = line.partition(":")[0].strip()
            if not found:
                found["imports, config, devices"] = seconds
            elif FIRST_STEP not in found and " ... " not in line and not line.rstrip().endswith("..."):
                found[name] = seconds
    if FIRST_STEP not in found:
        sys.exit("".join(lines))
    return found


def main(words: list[str]) -> None:
    """Measure twice, and print the table."""
    with tempfile.TemporaryDirectory() as folder:
        cold, kept = (phases(words, Path(folder), workdir) for workdir in ("cold", "kept"))
    table = Table("seconds until the end of", "cold", "programs kept")
    for name in cold:
        table.add_row(name, f"{cold[name]:.1f}", f"{kept[name]:.1f}" if name in kept else "")
    Console().print(table)
    print(f"first step after {cold[FIRST_STEP]:.1f} s, with programs kept after {kept[FIRST_STEP]:.1f} s")


if __name__ == "__main__":
    main(sys.argv[1:])
