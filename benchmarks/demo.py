"""Demonstration of the whole method, in minutes on two CPU cores: `make demo`.

Enhances a real noisy recording with the packaged model. Then makes the embedded corpus, trains a tiny
teacher, distills a student, enhances the test split, and prints a table. An interrupted demonstration resumes
where it stopped; completed stages are kept.

    python -m benchmarks.demo DIRECTORY
"""

import dataclasses
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rosecd_jax.cli.evaluate import print_summary
from rosecd_jax.cli.train import read_config
from rosecd_jax.data.corpus.synthetic import SyntheticCorpus, write_corpus
from rosecd_jax.evaluation import Evaluation, evaluate
from rosecd_jax.inference import Enhancer
from rosecd_jax.processes import keep_freed_memory
from rosecd_jax.training import train

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "configs" / "demo.py"
RECORDINGS = ROOT / "examples" / "recordings"
# What `rosecd prepare synthetic` makes with the options that configs/demo.py names.
CORPUS = SyntheticCorpus(hours=0.5, valid_files=8, test_files=12, utterance_seconds=(2.0, 2.0))


def main(directory: Path) -> None:
    """Run all stages that are not complete, then print the table and the next command."""
    keep_freed_memory()
    start = time.perf_counter()

    def say(words: str) -> None:
        print(f"[{time.perf_counter() - start:4.0f} s] {words}", flush=True)

    first_sound(directory / "first", say)

    say("the method in miniature: corpus, teacher, student")
    corpus = directory / "corpus"
    say(f"synthetic speech and noise -> {corpus}")
    for split, made in write_corpus(corpus, CORPUS).items():
        say(f"  {split}: {made.files} pairs, {made.seconds / 60:.1f} minutes")

    losses: list[float] = []

    def log(words: str) -> None:
        say(words)
        losses.extend(float(value) for value in re.findall(r"^step .*?  loss (\S+)", words))

    for stage in ("teacher", "student"):
        config = read_config(f"{CONFIG}:{stage}", [f"--config.data.path={corpus}"])
        if stage == "student":
            config = dataclasses.replace(config, teacher=str(directory / "teacher"))
        say(f"{stage}: {config.steps} updates -> {directory / stage}")
        train(config, directory / stage, log if stage == "teacher" else say)

    say("evaluation on the test split, with unseen voices and noises")
    teacher, student = (Enhancer.from_checkpoint(directory / stage) for stage in ("teacher", "student"))
    methods = [("noisy", None), ("teacher, 30 steps", teacher), ("student, 1 step", student)]
    noisy, by_teacher, by_student = evaluate(corpus / "test", methods, output=directory / "enhanced")
    print_summary([noisy, by_student])
    print_verdict(noisy, by_teacher, by_student, losses)
    say("done")
    print("\nEnhance your own recording:\n\n    .venv/bin/rosecd enhance INPUT.wav OUTPUT.wav\n")


def first_sound(directory: Path, say: Callable[[str], None]) -> None:
    """Enhance a real recording with the packaged model, and print the paths of both files."""
    say("a real recording, enhanced by the packaged model")
    methods = [("noisy", None), ("small, 1 step", Enhancer.from_checkpoint())]
    evaluations = evaluate(RECORDINGS, methods, output=directory)
    print_summary(evaluations)
    noisy = next((RECORDINGS / "noisy").iterdir())
    say(f"listen to {noisy} and to {next(directory.rglob(noisy.name), directory)}")


def print_verdict(
    noisy: Evaluation, teacher: Evaluation, student: Evaluation, losses: Sequence[float]
) -> None:
    """Print the teacher's loss, the student's gain, and the student's speed relative to the teacher."""
    if losses:
        print(f"teacher, in a hundred updates: loss {losses[0]:.3g} -> {losses[-1]:.3g}")
    gain = student.summary()["si_sdr"][0] - noisy.summary()["si_sdr"][0]
    ratio = teacher.real_time_factor / student.real_time_factor
    print(f"student against noisy input: {gain:+.1f} dB SI-SDR")
    print(f"student against teacher: {ratio:.0f}x faster")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo"))
    except (ValueError, OSError, ImportError) as error:  # for example a directory with other contents
        sys.exit(f"demo: {error}")
