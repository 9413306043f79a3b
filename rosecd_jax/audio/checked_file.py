"""A file that says when its disk is full."""

from pathlib import Path


class CheckedFile:
    """A file for libsndfile to write to that remembers a failure: libsndfile says nothing of a full disk."""

    def __init__(self, path: Path) -> None:
        self.file = open(path, "w+b", buffering=2**18)  # noqa: SIM115
        self.error: OSError | None = None
        self.seek, self.tell, self.read = self.file.seek, self.file.tell, self.file.read

    def write(self, data: bytes) -> int:
        try:
            self.file.write(data)
        except OSError as error:
            self.error = self.error or error
        return len(data)  # a lie after a failure, but libsndfile's Python face asserts it

    def check(self) -> None:
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        """Have everything on the disk, or raise."""
        self.check()
        self.file.close()
