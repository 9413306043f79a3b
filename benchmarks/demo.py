"""The whole method in minutes on two CPU cores: `make demo`, or python -m benchmarks.demo DIRECTORY.

Makes the embedded corpus, trains a small teacher, distils a student, enhances the test split with both, and
prints one table. What is there already is not made again: an interrupted demonstration goes on where it was.
"""

import dataclasses
import sys
import time
from pathlib import Path

from rosecd_jax.cli.common import keep_freed_memory
from rosecd_jax.cli.evaluate import print_summary
from rosecd_jax.cli.train import read_config
from rosecd_jax.data.synthetic import SyntheticCorpus, write_corpus
from rosecd_jax.evaluation import Evaluation, evaluate
from rosecd_jax.inference import Enhancer
from rosecd_jax.training import train

CONFIG = Path(__file__).parents[1] / "configs" / "demo.py"
# What `rosecd prepare synthetic` makes with the options that configs/demo.py names.
CORPUS = SyntheticCorpus(hours=0.5, valid_files=8, test_files=12, utterance_seconds=(2.0, 2.0))


def main(directory: Path) -> None:
    """Run every stage that has not been run yet, then print the table and the next command."""
    keep_freed_memory()
    start = time.perf_counter()

    def say(words: str) -> None:
        print(f"[{time.perf_counter() - start:4.0f} s] {words}", flush=True)

    corpus = directory / "corpus"
    say(f"synthetic speech and noise -> {corpus}")
    for split, made in write_corpus(corpus, CORPUS).items():
        say(f"  {split}: {made.files} pairs, {made.seconds / 60:.1f} minutes")

    for stage in ("teacher", "student"):
        config = read_config(f"{CONFIG}:{stage}", [f"--config.data.path={corpus}"])
        if stage == "student":
            config = dataclasses.replace(config, teacher=str(directory / "teacher"))
        say(f"{stage}: {config.steps} updates -> {directory / stage}")
        train(config, directory / stage, say)

    say("the test split: voices and noises that were never heard in training")
    teacher, student = (Enhancer.from_checkpoint(directory / stage) for stage in ("teacher", "student"))
    methods = [("noisy", None), ("teacher, 30 steps", teacher), ("student, 1 step", student)]
    noisy, by_teacher, by_student = evaluate(corpus / "test", methods, output=directory / "enhanced")
    print_summary([noisy, by_teacher, by_student])
    print_verdict(noisy, by_teacher, by_student)
    say("done")
    print(
        f"\nEnhance your own recording with the student:\n\n"
        f"    .venv/bin/rosecd enhance INPUT.wav OUTPUT.wav --checkpoint {directory / 'student'}\n"
    )


def print_verdict(noisy: Evaluation, teacher: Evaluation, student: Evaluation) -> None:
    """What the demonstration is about: the student's gain, and how much faster than its teacher it is."""
    gain = student.summary()["si_sdr"][0] - noisy.summary()["si_sdr"][0]
    ratio = teacher.real_time_factor / student.real_time_factor
    print(f"student against noisy input: {gain:+.1f} dB SI-SDR")
    print(f"student against teacher: {ratio:.0f}x faster")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo"))
    except (ValueError, OSError, ImportError) as error:  # such as a directory that holds something else
        sys.exit(f"demo: {error}")
