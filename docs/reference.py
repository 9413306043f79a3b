"""A mkdocs hook that generates the reference from docstrings, one page per subpackage."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

PACKAGE = Path(__file__).parents[1] / "rosecd_jax"
ROOMS = ("audio", "diffusion", "models", "losses", "data", "conversion", "training", "inference")
ROOMS += ("metrics", "evaluation", "export")
INDEX = """# rosecd_jax

Names in `rosecd_jax` are imported on first use. Subpackages have their own pages; top-level modules are
below.

::: rosecd_jax
    options:
      members: [Enhancer, ScoreModel, ModelConfig, NCSNppConfig, load_checkpoint, save_checkpoint]
"""


def on_files(files: Files, config: Any) -> Files:
    """Add the pages of the reference to mkdocs' files."""
    ground = "\n".join(section(f"rosecd_jax.{file.stem}") for file in modules(PACKAGE, deep=False))
    pages = {"index": f"{INDEX}\n{ground}"}
    for room in ROOMS:
        sections = "\n".join(section(dotted(file)) for file in modules(PACKAGE / room))
        intro = f"::: rosecd_jax.{room}\n    options:\n      members: false\n"
        pages[room] = f"# rosecd_jax.{room}\n\n{intro}\n{sections}"
    for name, text in pages.items():
        files.append(File.generated(config, f"api/{name}.md", content=text))
    return files


def section(module: str) -> str:
    """Return the section of a module, with its public names."""
    return f"::: {module}\n    options:\n      show_root_heading: true\n"


def dotted(file: Path) -> str:
    """Return the module of a file: rosecd_jax.audio.stft of rosecd_jax/audio/stft.py."""
    return ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts)


def modules(folder: Path, deep: bool = True) -> Iterator[Path]:
    """Iterate over the files of a folder that define functions or classes."""
    for file in sorted(folder.rglob("*.py") if deep else folder.glob("*.py")):
        if file.name != "__init__.py" and any(map(defines, ast.parse(file.read_text()).body)):
            yield file


def defines(node: ast.stmt) -> bool:
    """Whether a statement gives a function, a class or a value a name."""
    if isinstance(node, ast.Assign):
        return ast.unparse(node.targets[0]) != "__all__"
    return isinstance(node, ast.FunctionDef | ast.ClassDef)
