"""A file that records write errors such as a full disk."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


class CheckedFile:
    """A file for libsndfile that records errors, as libsndfile doesn't report a full disk.

    Methods called by libsndfile don't raise, because exceptions can't pass through C and would be printed.
    Seeking and reading can fail like writing, as they first write the buffer.
    """

    def __init__(self, path: Path) -> None:
        self.file = open(path, "w+b", buffering=2**18)  # noqa: SIM115
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        self._try(self.file.write, data)
        return len(data)  # also after a failure, as soundfile asserts it

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
        """Flush everything to the disk, or raise."""
        self.check()
        self.file.close()
