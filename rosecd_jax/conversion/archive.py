"""The zip archive of a PyTorch file, checked by the standard library, then read member by member.

Only archives as `torch.save` and common zip programs write them are accepted. Sizes are checked against the
length of the file before memory is allocated, and nothing is extracted to a path from the archive.
"""

import dataclasses
import os
import struct
import zipfile
import zlib
from collections.abc import Sequence
from typing import BinaryIO

MOST_MEMBERS = 200_000
SMALL = 16 * 2**20
"""Maximum bytes of all inflated members, or `MOST_INFLATION` times the file, whichever is more."""
MOST_INFLATION = 20
ENCRYPTED = 0b100001
SYMBOLIC_LINK = 0xA
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class ZipError(ValueError):
    """Error for an archive that is broken or was not written by PyTorch."""


@dataclasses.dataclass(frozen=True)
class Member:
    """One file of the archive.

    Attributes:
      name: path in the archive.
      start: offset of its bytes in the file.
      stored: bytes in the file.
      size: bytes when inflated; equal to `stored` for uncompressed members.
      compressed: whether it is deflated.
      crc: CRC-32 of its contents, from the archive.
    """

    name: str
    start: int
    stored: int
    size: int
    compressed: bool
    crc: int


def read_directory(file: BinaryIO) -> dict[str, Member]:
    """Read the members of an archive by name, in the archive's order.

    Raises:
      ZipError: if it is truncated or inconsistent; if a name is absolute, contains "..", occurs twice or is a
        link; if a member is encrypted, compressed by other methods than deflate, or inflates suspiciously.
    """
    length = file.seek(0, os.SEEK_END)
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            _check_sizes(members, length, archive.start_dir)
            for member in members:
                _check_member(member)
            found = {member.filename: _member(archive, member) for member in members}
    except ZipError:
        raise
    except (zipfile.BadZipFile, NotImplementedError, EOFError, struct.error, ValueError) as error:
        raise ZipError(f"it is truncated, or its directory is broken ({str(error)[:200]!a})") from error
    if len(found) != len(members):
        names = [member.filename for member in members]
        raise ZipError(f"it holds {next(name for name in names if names.count(name) > 1)} twice")
    return found


def read_member(file: BinaryIO, member: Member) -> bytes:
    """Read the whole contents of a member.

    Raises:
      ZipError: if they are damaged.
    """
    file.seek(member.start)
    data = file.read(member.stored)
    if member.compressed:
        try:
            data = zlib.decompressobj(-15).decompress(data, member.size + 1)
        except zlib.error as error:
            raise ZipError(f"{member.name} can't be inflated ({error})") from error
    if len(data) != member.size:
        raise ZipError(f"{member.name} doesn't hold the {member.size} bytes that it declares")
    check_crc(data, member)
    return data


def check_crc(data: bytes | memoryview, member: Member) -> None:
    """Compare a member's contents with its checksum (0 if PyTorch left it out).

    Raises:
      ZipError: if they differ.
    """
    if member.crc and zlib.crc32(data) != member.crc:
        raise ZipError(f"{member.name} is damaged: its checksum differs")


def _check_sizes(members: Sequence[zipfile.ZipInfo], length: int, directory: int) -> None:
    """Check that members fit before the directory without overlap, and don't inflate suspiciously."""
    if len(members) > MOST_MEMBERS:
        raise ZipError(f"it lists {len(members)} members, more than a checkpoint needs")
    if sum(member.compress_size + 30 for member in members) > directory:
        raise ZipError("its members are longer than the file, or overlap")
    inflated = sum(member.file_size for member in members if member.compress_type)
    if inflated > max(SMALL, MOST_INFLATION * length):
        raise ZipError(
            f"it would inflate from {length} to {inflated} bytes, which looks like a bomb; PyTorch stores "
            "its members uncompressed"
        )


def _check_member(member: zipfile.ZipInfo) -> None:
    name = member.orig_filename
    if not name or len(name) > 1000 or not name.isprintable():
        raise ZipError(f"a member has the name {name[:100]!a}")
    parts = name.removesuffix("/").split("/")
    if "\\" in name or ":" in parts[0] or any(part in ("", ".", "..") for part in parts):
        raise ZipError(f"the name {name[:100]!r} is absolute or points outside the archive")
    if member.flag_bits & ENCRYPTED:
        raise ZipError(f"{name} is encrypted; decrypt the archive first")
    if member.external_attr >> 28 == SYMBOLIC_LINK:
        raise ZipError(f"{name} is a symbolic link, which no checkpoint needs")
    if member.compress_type not in METHODS:
        raise ZipError(f"{name} is compressed by method {member.compress_type}; PyTorch stores its members")
    if member.compress_type == zipfile.ZIP_STORED and member.compress_size != member.file_size:
        raise ZipError(f"{name} is not compressed, but its two sizes differ")


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Member:
    """Locate the bytes of a member, whose local header has to agree with the directory."""
    with archive.open(info):  # compares the names
        assert archive.fp is not None
        archive.fp.seek(info.header_offset + 26)
        start = info.header_offset + 30 + sum(struct.unpack("<2H", archive.fp.read(4)))
    if start + info.compress_size > archive.start_dir:
        raise ZipError(f"{info.filename} is outside the file, or overlaps another member")
    compressed = info.compress_type != zipfile.ZIP_STORED
    return Member(info.filename, start, info.compress_size, info.file_size, compressed, info.CRC)
