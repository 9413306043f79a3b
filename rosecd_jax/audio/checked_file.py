"""A file that says when its disk is full."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


class CheckedFile:
    """A file for libsndfile to write to that remembers a failure: libsndfile says nothing of a full disk.

    Nothing that libsndfile calls raises, because an error can't pass through C and would be printed there. A
    seek or a read can fail as a write does: they first write what is buffered.
    """

    def __init__(self, path: Path) -> None:
        self.file = open(path, "w+b", buffering=2**18)  # noqa: SIM115
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        self._try(self.file.write, data)
        return len(data)  # a lie after a failure, but libsndfile's Python face asserts it

    def read(self, size: int) -> bytes:
        return self._try(self.file.read, size) or b""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._try(self.file.seek, offset, whence)
        return self.tell()

    def tell(self) -> int:
        return self._try(self.file.tell) or 0

    def _try(self, action: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return action(*arguments)
        except OSError as error:
            self.error = self.error or error

    def check(self) -> None:
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        """Have everything on the disk, or raise."""
        self.check()
        self.file.close()
