"""Train the package's small model, and measure every stage.

    python -m benchmarks.small WORK TEST --config.data.speech=SPEECH --config.data.noise=NOISE \
        --config.data.rir=ROOMS

WORK gets a run for each stage of configs/small.py; existing runs are resumed, or kept if complete. TEST holds
clean/ and noisy/. Further arguments are passed to every stage. At the end a table compares the student
trained without a teacher, the teacher in 30 steps, and the student distilled from it.
`python -m benchmarks.ship small WORK/consistency` adds a result to the package.
"""

import sys
from pathlib import Path

from rosecd_jax.cli.evaluate import print_summary
from rosecd_jax.cli.train import read_config
from rosecd_jax.evaluation import evaluate
from rosecd_jax.inference import Enhancer
from rosecd_jax.processes import keep_freed_memory
from rosecd_jax.training import train

CONFIG = Path(__file__).parents[1] / "configs" / "small.py"
STAGES = {
    "consistency": "without a teacher, 1 step",
    "teacher": "teacher, 30 steps",
    "student": "student, 1 step",
}


def main(work: Path, test: Path, options: list[str]) -> None:
    """Train the stages that are not complete, then print the table."""
    keep_freed_memory()
    for stage in STAGES:
        more = [] if stage == "consistency" else [f"--config.init_from={work / 'consistency'}"]
        more += [f"--config.teacher={work / 'teacher'}"] if stage == "student" else []
        print(f"{stage} -> {work / stage}", flush=True)
        train(read_config(f"{CONFIG}:{stage}", [*more, *options]), work / stage)
    trained = [(name, Enhancer.from_checkpoint(work / stage)) for stage, name in STAGES.items()]
    print_summary(evaluate(test, [("noisy", None), *trained], output=work / "enhanced"))


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
    except (ValueError, OSError) as error:
        sys.exit(f"small: {error}")
