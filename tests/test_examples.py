"""The notebooks in examples/ run from top to bottom, on a bare clone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "examples").glob("*.ipynb"))
every_notebook = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.name)

# As a kernel does it, cell by cell in one namespace; a kernel itself would bring thirty packages.
RUN = """
import json, sys
namespace = {"__name__": "__main__"}
with open(sys.argv[1], encoding="utf-8") as file:
    cells = json.load(file)["cells"]
for number, cell in enumerate(cells):
    if cell["cell_type"] == "code":
        exec(compile("".join(cell["source"]), f"cell {number}", "exec"), namespace)
"""


def test_there_is_one():
    assert NOTEBOOKS


@pytest.mark.slow
@every_notebook
def test_a_notebook_runs_from_top_to_bottom(notebook, tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "ROSECD_CHECKPOINT"}
    environment |= {"TMPDIR": str(tmp_path), "JAX_ENABLE_COMPILATION_CACHE": "false"}
    words = [sys.executable, "-c", RUN, str(notebook)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=600)
    assert done.returncode == 0, done.stderr
    assert "untrained" in done.stdout


@every_notebook
def test_a_notebook_is_committed_without_what_it_printed(notebook):
    stored = json.loads(notebook.read_text())
    assert stored["nbformat"] == 4
    code = [cell for cell in stored["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert not [line for cell in code for line in cell["source"] if line.lstrip().startswith(("%", "!"))]
