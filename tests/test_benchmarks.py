"""The benchmarks run in miniature; what they measure, and how they count."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks import timing
from benchmarks.collectives import Total, Traffic, array_bytes, count_collectives, moved

ROOT = Path(__file__).parents[1]
HLO = """HloModule jit_step, entry_computation_layout={(f32[8]{0})->f32[8]{0}}

%sum (a: f32[], b: f32[]) -> f32[] {
  ROOT %add = f32[] add(%a, %b)
}

%body (state: (s32[], f32[4,2])) -> (s32[], f32[4,2]) {
  %moved = f32[4,2]{1,0} all-reduce(%x), replica_groups={}, to_apply=%sum
  %permuted = (bf16[6]{0}, bf16[6]{0}) collective-permute-start(%y), source_target_pairs={{0,1}}
}

%condition (state: (s32[], f32[4,2])) -> pred[] {
}

%wrapped (p: f32[2]) -> f32[8] {
  %part = f32[2]{0} reduce-scatter(%q), dimensions={0}, to_apply=%sum
}

ENTRY %main.1_spmd (p: f32[8]) -> f32[8] {
  %both = (f32[16]{0}, c64[3]{0}) all-reduce(%p, %c), replica_groups={}, to_apply=%sum
  %begun = (f32[2]{0}, f32[8]{0}) all-gather-start(%p), dimensions={0}
  %done = f32[8]{0} all-gather-done(%begun)
  %loop = (s32[], f32[4,2]) while(%t), condition=%condition, body=%body, TRIPS
  ROOT %f = f32[8] fusion(%p), kind=kLoop, calls=%wrapped
}
""".replace("TRIPS", 'backend_config={"known_trip_count":{"n":"5"}}')


def run(*words: str) -> str:
    """What a benchmark prints that runs in a process of its own, on one CPU device."""
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    environment.pop("XLA_FLAGS", None)
    command = [sys.executable, "-m", f"benchmarks.{words[0]}", *words[1:], "--tiny"]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    return result.stdout


def cells(table: str) -> list[list[str]]:
    """The cells of a printed table, row by row."""
    return [
        [cell.strip() for cell in line.strip("│").split("│")] for line in table.splitlines() if "│" in line
    ]


def test_functions_are_measured_in_turn_and_once_before():
    called = []
    functions = {"a": lambda: called.append("a"), "b": lambda: (called.append("b"), time.sleep(0.01))[0]}
    times = timing.interleaved(functions, 3)
    assert "".join(called) == 4 * "ab"
    assert times["a"].shape == times["b"].shape == (3,)
    assert (times["b"] >= 0.01).all()


def test_the_best_rate_is_that_of_the_fastest_candidate_of_its_kind():
    tested = [timing.Candidate(kind, name, str, 100.0) for kind, name in ("px", "py", "cz")]
    assert timing.best_rate("p", tested, [2.0, 1.0, 0.1]) == timing.Rate(100.0, "y")


def test_candidates_compute_as_many_operations_as_they_say():
    for candidate in timing.candidates("float32", tiny=True):
        compiled = candidate.run.func.lower(*candidate.run.args).compile()
        counted = compiled.cost_analysis()["flops"]
        assert 0.7 < counted / candidate.operations <= 1.1  # XLA counts no products with padding
        assert np.isfinite(candidate.run()).all()


def test_bytes_of_shapes():
    assert array_bytes("f32[2,3]{1,0}") == 24
    assert array_bytes("(bf16[10]{0}, (s32[], pred[7]{0}))") == 20 + 4 + 7


def test_collectives_are_counted_in_loops_and_in_called_computations():
    assert count_collectives(HLO, devices=4) == {
        "all-reduce": Total(6, 16 * 4 + 3 * 8 + 5 * 32),
        "all-gather": Total(1, 32),
        "reduce-scatter": Total(1, 32),
        "collective-permute": Total(5, 5 * 12),
    }


def test_a_ring_sends_each_part_to_all_but_its_owner():
    sizes = {"all-reduce": 80, "all-gather": 8, "reduce-scatter": 16, "collective-permute": 5}
    assert moved(sizes, 8) == 2 * 70 + 7 + 14 + 5
    assert moved(sizes, 1) == 5
    traffic = Traffic({}, {"all-reduce": 80}, {"all-gather": 2})
    assert traffic.moved(8, 16) == (140, 28)


def test_weights_that_fsdp_does_not_divide_are_reduced_but_not_gathered():
    traffic = Traffic({}, {"all-gather": 80, "reduce-scatter": 80}, {"all-gather": 2})
    assert traffic.moved(8, 16) == (140, 28)
    assert traffic.moved(8, 16, divided=0.5) == (35 + 35 + 70, 28)
    assert traffic.moved(8, 16, divided=0.0) == (140, 28)


@pytest.mark.slow
def test_one_step():
    output = run("one_step")
    assert [row[:3] for row in cells(output)] == [["tiny", "1", "float32"], ["tiny", "1", "bfloat16"]]
    assert re.search(r"best convolution in bfloat16: \d+ GFLOP/s", output)


@pytest.mark.slow
def test_a_student_against_its_teacher():
    output = run("student_teacher")
    student, teacher = cells(output)
    assert (student[3], teacher[3]) == ("1", "6")
    ratio = float(re.search(r"is ([\d.]+) times as fast", output)[1])
    assert ratio == pytest.approx(float(teacher[5]) / float(student[5]), rel=0.5)


@pytest.mark.slow
def test_scaling_with_length_and_batch():
    assert [row[:2] for row in cells(run("scaling", "length"))] == [["0.5", "1 x 256"], ["1", "1 x 256"]]
    assert [row[0] for row in cells(run("scaling", "batch"))] == ["1", "2"]


@pytest.mark.slow
def test_scaling_with_virtual_devices():
    output = run("scaling", "devices", "--counts", "1", "2")
    assert [row[:2] for row in cells(output)] == [["1", "8"], ["2", "4"]]
    assert "overhead" in output


@pytest.mark.slow
def test_communication_is_the_same_when_compiled_for_more_devices():
    words = ("scaling", "collectives", "configs/demo.py:teacher", "--chips", "8", "16")
    by_eight, by_sixteen = (cells(run(*words, "--compiled", n)) for n in ("8", "16"))
    assert len(by_eight) == 4
    assert by_eight == by_sixteen


@pytest.mark.slow
def test_a_step_of_distillation_sends_weights_and_gradients_but_no_part_of_the_batch():
    rows = cells(run("scaling", "collectives", "configs/demo.py:student", "--chips", "8", "256"))
    assert [row[:2] for row in rows] == [[how, n] for how in ("replicated", "fsdp") for n in ("8", "256")]
    assert all(float(row[3]) > 0 for row in rows)
    assert {row[4] for row in rows} == {"0.00"}


def test_an_unknown_size_is_an_error_in_one_line():
    command = [sys.executable, "-m", "benchmarks.one_step", "--sizes", "huge"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("one_step: huge is neither a checkpoint nor one of full")
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [([], 0, "nothing was measured"), (["--reference", "nowhere"], 1, "nowhere has no sgmse/")],
)
def test_a_comparison_with_pytorch_needs_the_authors_checkout(words, code, expected):
    command = [sys.executable, "-m", "benchmarks.against_pytorch", *words]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == code
    assert expected in result.stdout + result.stderr
