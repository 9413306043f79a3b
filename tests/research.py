"""What docs/research.md holds, for the tests that run it."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "research.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.M | re.S)[1:]  # the first is a form


def block_below(heading: str) -> str:
    """The first block of code below a heading."""
    found = re.search(rf"^## {heading}\n.*?^```python\n(.*?)^```", PAGE.read_text(), re.M | re.S)
    assert found
    return found[1]


def imports() -> str:
    """The page's import statements."""
    return "".join(line for line in BLOCKS[0].splitlines(True) if line.startswith(("import ", "from ")))


def extension(heading: str) -> str:
    """A block without its last line, which puts it into `Functions`."""
    return block_below(heading).rpartition("with_")[0]
