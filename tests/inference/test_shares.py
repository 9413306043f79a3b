"""Processes that divide a folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rosecd_jax import save_checkpoint
from rosecd_jax.audio import io
from tests.helpers import free_port, random_params
from tests.inference.small import MODEL, outcomes, write

ROOT = Path(__file__).parents[2]
JOINED = """
import sys
import jax
from rosecd_jax import Enhancer
number, address, checkpoint, source, target = sys.argv[1:]
jax.distributed.initialize(address, 2, int(number))
enhancer = Enhancer.from_checkpoint(checkpoint)
for report in enhancer.enhance_folder(source, target, existing="resume"):
    print(report.source.name, report.status)
"""


def test_shares_are_disjoint_and_complete(student, tmp_path):
    for number in range(7):
        write(tmp_path / "in" / f"{number}.wav", 1000)
    (tmp_path / "in" / "5.wav").write_bytes(b"broken")
    shares = [
        outcomes(student.enhance_folder(tmp_path / "in", tmp_path / "out", share=(i, 3))) for i in range(3)
    ]
    assert sorted(name for share in shares for name in share) == [f"{i}.wav" for i in range(7)]
    assert len(io.find(tmp_path / "out")) == 6
    with pytest.raises(ValueError, match=r"share is \(3, 3\)"):
        student.enhance_folder(tmp_path / "in", tmp_path / "other", share=(3, 3))


@pytest.mark.slow
def test_processes_joined_by_jax_divide_a_folder_unasked(tmp_path):
    save_checkpoint(tmp_path / "model", MODEL, random_params(MODEL))
    for number in range(5):
        write(tmp_path / "in" / f"{number}.wav", 1000)
    words = [f"localhost:{free_port()}", *(str(tmp_path / name) for name in ("model", "in", "out"))]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", JOINED, str(number), *words],
            cwd=ROOT,
            env=os.environ | {"JAX_PLATFORMS": "cpu"},
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    texts = [process.communicate(timeout=300)[0] for process in processes]
    told = [sorted(line for line in text.splitlines() if ".wav " in line) for text in texts]
    assert [process.returncode for process in processes] == [0, 0]
    assert [
        sorted(line for line in lines if ".wav " in line) for lines in told
    ] == [  # XLA's Gloo speaks, too
        [f"{number}.wav enhanced" for number in numbers] for numbers in ((0, 2, 4), (1, 3))
    ]
    assert len(io.find(tmp_path / "out")) == 5
