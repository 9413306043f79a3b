"""The plan of the house: who may import whom, and what an import may cost."""

import ast
import configparser
import graphlib
import importlib
import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import rosecd_jax

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "rosecd_jax"
TESTS = sorted((ROOT / "tests").rglob("*.py"))
SETUP = configparser.RawConfigParser()
SETUP.read(ROOT / "setup.cfg")
FLOORS = {
    "arrays": -1,
    "atomic": -1,
    "config": -1,
    "extras": -1,
    "lazy": -1,
    "prefetch": -1,
    "pretrained": -1,
    "processes": -1,
    "audio": 0,
    "diffusion": 0,
    "metrics": 0,
    "models": 1,
    "data": 1,
    "losses": 2,
    "conversion": 2,
    "export": 2,
    "training": 3,
    "inference": 3,
    "evaluation": 4,
    "cli": 5,
}
# __init__.py of the package is its public face: it names what is in all rooms and imports it when asked.
FILES = sorted(set(PACKAGE.rglob("*.py")) - {PACKAGE / "__init__.py"})
ONLY_IN = {
    "soundfile": {"audio/io.py", "audio/writer.py"},
    "orbax": {"models/checkpoint.py", "training/checkpoints.py"},
    "pickle": set(),
    "argparse": set(),
    "typer": {str(file.relative_to(PACKAGE)) for file in (PACKAGE / "cli").glob("*.py")},
    "absl": {"cli/train.py", "data/loader.py"},
    "torch": set(),
    "tensorflow": set(),
}
every_file = pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))


def imports(file: Path) -> set[str]:
    """Full names of the modules that a file imports, anywhere in it; of a package's own, the modules."""
    names = imported_names(file)
    return {module_of(name) if name.startswith("rosecd_jax") else name for name in names}


def imported_names(file: Path) -> set[str]:
    """Full names of all that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def module_of(name: str) -> str:
    """The module that holds a name: rosecd_jax.audio.stft.FrontEnd -> rosecd_jax.audio.stft."""
    while not file_of(name):
        name = name.rpartition(".")[0]
    return name


def file_of(module: str) -> Path | None:
    path = PACKAGE.parent.joinpath(*module.split("."))
    return next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()), None)


def room(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


@every_file
def test_a_file_imports_from_its_own_room_and_from_lower_floors(file):
    for module in imports(file):
        if module.startswith("rosecd_jax"):
            other = room(file_of(module))
            assert other == room(file) or FLOORS[other] < FLOORS[room(file)], f"imports {module}"


def test_there_are_no_circles():
    graph = {file: {file_of(m) for m in imports(file) if m.startswith("rosecd_jax")} for file in FILES}
    graphlib.TopologicalSorter(graph).prepare()


@every_file
def test_only_the_right_files_open_audio_checkpoints_pickles_and_flags(file):
    name = str(file.relative_to(PACKAGE))
    for library in {module.partition(".")[0] for module in imports(file)}:
        assert name in ONLY_IN.get(library, {name}), f"imports {library}"


@pytest.mark.parametrize("file", TESTS, ids=lambda file: str(file.relative_to(ROOT)))
def test_what_test_files_share_lies_in_files_of_its_own(file):
    names = {name for name in imported_names(file) if name.startswith("tests.")}
    assert not [name for name in names if any(part.startswith("test_") for part in name.split("."))]


def test_every_folder_of_code_is_installed():
    folders = {file.parent.relative_to(ROOT) for file in FILES} | {Path("rosecd_jax/configs")}
    assert set(SETUP["options"]["packages"].split()) == {".".join(folder.parts) for folder in folders}


def test_every_package_that_is_imported_is_declared():
    needed = [SETUP["options"]["install_requires"], *SETUP["options.extras_require"].values()]
    declared = {name.lower().replace("_", "-") for name in re.findall(r"^[\w-]+", "\n".join(needed), re.M)}
    distributions = importlib.metadata.packages_distributions()
    imported = {module.partition(".")[0] for file in FILES for module in imports(file)}
    for package in imported - {"rosecd_jax"} - sys.stdlib_module_names:
        names = {name.lower().replace("_", "-") for name in distributions.get(package, [package])}
        assert names & declared, f"{package} is imported, but none of {names} is in setup.cfg"


@every_file
def test_a_file_fits_on_its_page(file):
    assert len(file.read_text().splitlines()) <= 400


@every_file
def test_a_function_has_at_most_60_lines(file):
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno < 60, f"{node.name} is too long"


def run_python(code: str) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    return result.stdout.strip()


def test_importing_the_package_is_quick():
    heavy = "{'jax', 'flax', 'orbax', 'numpy', 'scipy', 'soundfile'} & set(sys.modules)"
    assert run_python(f"import sys, rosecd_jax; print({heavy})") == "set()"


def test_every_room_and_every_public_name_is_there_when_asked_for():
    inner = {"cli"} | {name for name, floor in FLOORS.items() if floor < 0}
    rooms = {room(file) for file in FILES} - inner
    code = "import rosecd_jax; print(*(name for name in rosecd_jax.__all__ if hasattr(rosecd_jax, name)))"
    names = set(run_python(code).split())
    assert names == set(rosecd_jax.__all__)
    assert rooms <= names


@pytest.mark.parametrize("package", ["evaluation", "evaluation.check"])
def test_names_imported_on_first_use_are_those_a_type_checker_sees(package):
    module = importlib.import_module(f"rosecd_jax.{package}")
    tree = ast.parse(Path(str(module.__file__)).read_text())
    seen = [n for block in tree.body if isinstance(block, ast.If) for n in block.body]
    homes = {alias.name: node.module for node in seen for alias in node.names}
    assert set(homes) == set(module.__all__) <= set(dir(module))
    for name, home in homes.items():
        assert getattr(module, name) is getattr(importlib.import_module(home), name)


def test_processes_that_score_files_load_no_model():
    heavy = "{'flax', 'orbax', 'scipy.stats', 'librosa'} & set(sys.modules)"
    assert run_python(f"import sys, rosecd_jax.evaluation.scoring; print({heavy})") == "set()"


REPORT = """
import sys
bridge = sys.modules.get("jax._src.xla_bridge")
print(bool(bridge and bridge._backends), "torch" in sys.modules, "tensorflow" in sys.modules)
"""


@pytest.mark.parametrize(
    "modules",
    [
        "rosecd_jax",
        "rosecd_jax.audio, rosecd_jax.diffusion, rosecd_jax.losses, rosecd_jax.conversion.parameters",
    ],
)
def test_importing_starts_no_device_and_loads_neither_torch_nor_tensorflow(modules):
    assert run_python(f"import {modules}\n{REPORT}") == "False False False"
