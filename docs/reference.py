"""For mkdocs: the pages of the reference, one for each room of the package, made of its docstrings."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

PACKAGE = Path(__file__).parents[1] / "rosecd_jax"
ROOMS = ("audio", "diffusion", "models", "losses", "data", "conversion", "training", "inference")
ROOMS += ("evaluation", "export")
INDEX = """# rosecd_jax

What `import rosecd_jax` offers. Names are imported when they are first used; the rooms have pages of their
own, and what belongs to none is below.

::: rosecd_jax
    options:
      members: [Enhancer, ScoreModel, ModelConfig, NCSNppConfig, load_checkpoint, save_checkpoint]
"""


def on_files(files: Files, config: Any) -> Files:
    """Called by mkdocs with the files that it found."""
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
    """A module's heading, and all that is public in it."""
    return f"::: {module}\n    options:\n      show_root_heading: true\n"


def dotted(file: Path) -> str:
    """rosecd_jax/audio/stft.py -> rosecd_jax.audio.stft"""
    return ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts)


def modules(folder: Path, deep: bool = True) -> Iterator[Path]:
    """The files of a folder that define something, and don't only pass on what is defined elsewhere."""
    for file in sorted(folder.rglob("*.py") if deep else folder.glob("*.py")):
        kinds = ast.FunctionDef | ast.ClassDef
        if file.name != "__init__.py" and any(isinstance(n, kinds) for n in ast.parse(file.read_text()).body):
            yield file
