"""A student's one call against its teacher's 30 predictor-corrector steps, from wave to wave.

    python -m benchmarks.student_teacher [STUDENT] [TEACHER] [--seconds 4] [--steps 30] [--runs 5]

Enhances the same noisy speech of the embedded corpus with two Enhancers, each as a user gets it, with level,
STFT, padding and inverse STFT. STUDENT is a checkpoint or a name: `small` (the default) is the packaged
student, `full`, `32` and `tiny` are untrained students (see benchmarks.one_step). TEACHER is a teacher's
checkpoint. Without it, the teacher has the student's network and weights: time does not depend on the
weights. The student is called ten times in a row for each call of the teacher, because a single call of a
tenth of a second is hard to time. Programs are compiled first, without the cache of compiled programs; these
times are printed, but not counted. Prints both medians, real-time factors (seconds of computation per second
of audio) and their ratio. A teacher calls the network twice per step, 60 times in 30 steps; the target is a
ratio of at least 54. --tiny tests the program in seconds.
"""

import argparse
import dataclasses
import functools
import math

import numpy as np

from benchmarks.long_audio import speech_in_noise
from benchmarks.timing import (
    interleaved,
    load,
    machine,
    parameters,
    plain_errors,
    print_table,
    seconds_of,
)
from rosecd_jax import Enhancer, ScoreModel
from rosecd_jax.audio import io
from rosecd_jax.conversion.lightning import load_any_checkpoint
from rosecd_jax.models.enhancement import SamplerConfig
from rosecd_jax.processes import keep_freed_memory

CORPUS_RATE = 16_000
TARGET = 54
STUDENT_CALLS = 10
"""Calls of the student in a row that are timed as one."""


def make_teacher(student: Enhancer, checkpoint: str, steps: int) -> Enhancer:
    """Load a teacher; without a checkpoint, make one of the student's network and weights."""
    sampler = SamplerConfig(steps=steps)
    if checkpoint:
        return Enhancer(*load_any_checkpoint(checkpoint), sampler)
    model = ScoreModel(dataclasses.replace(student.model.config, role="teacher"))
    return Enhancer(model, student.params, sampler)


def main(student: str, teacher: str, seconds: float, steps: int, runs: int) -> None:
    """Compile, measure and print."""
    keep_freed_memory()
    print(machine())
    by_student = Enhancer(*load(student))
    by_teacher = make_teacher(by_student, teacher, steps)
    rate = by_student.model.front_end.sample_rate
    noisy = speech_in_noise(math.ceil(seconds))[1][: round(seconds * CORPUS_RATE)]
    wave = io.resample(noisy[None], CORPUS_RATE, rate)[0]

    enhancers = {"student": by_student, "teacher": by_teacher}
    compiling = {
        name: seconds_of(functools.partial(enhancer.prepare, wave.size, rate))
        for name, enhancer in enhancers.items()
    }
    calls = {
        "student": lambda: [by_student(wave, rate) for _ in range(STUDENT_CALLS)],
        "teacher": lambda: by_teacher(wave, rate),
    }
    times = interleaved(calls, runs)
    times["student"] /= STUDENT_CALLS

    rows = []
    for name, enhancer in enhancers.items():
        median = float(np.median(times[name]))
        sampler = enhancer.sampler
        rows.append(
            (
                name,
                parameters(enhancer.params),
                f"{sampler.sampler}, {sampler.steps}",
                str(sampler.network_calls),
                f"{compiling[name]:.1f}",
                f"{1000 * median:.1f}",
                f"{median / seconds:.4f}",
            )
        )
    header = ("", "parameters", "sampler, steps", "calls", "compile s", "ms", "real-time factor")
    print_table(f"{seconds:g} s of speech, wave to wave, medians of {runs}", header, rows)
    if not teacher:
        print("The teacher has the student's network and weights; time does not depend on the weights.")
    ratio = float(np.median(times["teacher"] / times["student"]))
    aim = f" (target: at least {TARGET})" if by_teacher.sampler.network_calls == 60 else ""
    print(f"the student is {ratio:.1f} times as fast as its teacher{aim}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("student", nargs="?", default="small")
    parser.add_argument("teacher", nargs="?", default="")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--steps", type=int, default=0, help="steps of the teacher; 0: its default, 30")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--tiny", action="store_true", help="an untrained network of a few thousand weights")
    options = parser.parse_args()
    if options.tiny:
        options.student, options.teacher, options.seconds, options.steps, options.runs = "tiny", "", 0.5, 3, 2
    with plain_errors():
        main(options.student, options.teacher, options.seconds, options.steps, options.runs)
