"""The zip archive around a PyTorch file: found, checked and read member by member.

Only what `torch.save` and ordinary zip programs write is accepted. Everything is checked against the length
of the file before memory is taken, and nothing is ever extracted to a path that an archive names.
"""

import dataclasses
import os
import struct
import zlib
from typing import BinaryIO

MOST_MEMBERS = 200_000
LONGEST_DIRECTORY = 16 * 2**20
SMALL = 16 * 2**20
"""Compressed members may hold this many bytes in all, or 20 times the file, whichever is more."""
MOST_INFLATION = 20


class ZipError(ValueError):
    """An archive that is broken, or that no PyTorch wrote."""


@dataclasses.dataclass(frozen=True)
class Member:
    """One file of the archive.

    Attributes:
      name: as the archive spells it.
      start: of its bytes in the file.
      stored: bytes in the file.
      size: bytes when inflated; equal to `stored` for members that are not compressed.
      compressed: whether it is deflated.
      crc: CRC-32 of its contents, as the archive says.
    """

    name: str
    start: int
    stored: int
    size: int
    compressed: bool
    crc: int


def read_directory(file: BinaryIO) -> dict[str, Member]:
    """The members of an archive, by name, in its order.

    Raises:
      ZipError: if it is truncated or inconsistent; if a name is absolute, climbs, is given twice or belongs
        to a link; if a member is encrypted, not compressed by deflate, or inflates suspiciously.
    """
    length = file.seek(0, os.SEEK_END)
    try:
        count, size, start, end = _find_directory(file, length)
        if count > MOST_MEMBERS or size > LONGEST_DIRECTORY:
            raise ZipError(f"it lists {count} members in {size} bytes, more than a checkpoint needs")
        if start + size > end:
            raise ZipError("its directory lies outside of the file")
        members = _parse_directory(_read(file, start, size), count)
        _check_sizes(members, length, start)
        return {
            name: dataclasses.replace(member, start=_data_start(file, member, start))
            for name, member in members.items()
        }
    except struct.error as error:
        raise ZipError("its directory is broken") from error


def read_member(file: BinaryIO, member: Member) -> bytes:
    """The whole contents.

    Raises:
      ZipError: if they are damaged.
    """
    data = _read(file, member.start, member.stored)
    if member.compressed:
        inflater = zlib.decompressobj(-15)
        try:
            data = inflater.decompress(data, member.size + 1)
        except zlib.error as error:
            raise ZipError(f"{member.name} can't be inflated ({error})") from error
        if len(data) != member.size:
            raise ZipError(f"{member.name} doesn't inflate to the {member.size} bytes that it announces")
    check_crc(data, member)
    return data


def check_crc(data: bytes | memoryview, member: Member) -> None:
    """Compare whole contents with the checksum (PyTorch can leave it out, it is zero then).

    Raises:
      ZipError: if they differ.
    """
    if member.crc and zlib.crc32(data) != member.crc:
        raise ZipError(f"{member.name} is damaged: its checksum differs")


def _read(file: BinaryIO, start: int, size: int) -> bytes:
    file.seek(start)
    data = file.read(size)
    if len(data) != size:
        raise ZipError("it is truncated")
    return data


def _find_directory(file: BinaryIO, length: int) -> tuple[int, int, int, int]:
    """Number of members, size and start of the directory, and where it has to end."""
    tail_start = max(0, length - 22 - 65535)
    tail = _read(file, tail_start, length - tail_start)
    found = tail.rfind(b"PK\5\6")
    while found >= 0:
        fields = struct.unpack("<4s4H2LH", tail[found : found + 22].ljust(22, b"\0"))
        if found + 22 + fields[7] == len(tail):
            break
        found = tail.rfind(b"PK\5\6", 0, found)
    else:
        raise ZipError("it is a truncated zip archive (its end is missing)")
    _, disk, first_disk, on_disk, count, size, start, _ = fields
    end = tail_start + found
    if 0xFFFF in (on_disk, count) or 0xFFFFFFFF in (size, start):
        if end < 20:
            raise ZipError("its directory is broken")
        signature, _, record, _ = struct.unpack("<4sLQL", _read(file, end - 20, 20))
        if signature == b"PK\6\7":
            if record + 56 > end - 20:
                raise ZipError("its directory is broken")
            signature, _, _, _, disk, first_disk, on_disk, count, size, start = struct.unpack(
                "<4sQ2H2L4Q", _read(file, record, 56)
            )
            end = record
            if signature != b"PK\6\6":
                raise ZipError("its directory is broken")
    if disk or first_disk or on_disk != count:
        raise ZipError("it is split over several files")
    return count, size, start, end


def _parse_directory(data: bytes, count: int) -> dict[str, Member]:
    """Members with the start of their local header, not yet of their bytes."""
    members: dict[str, Member] = {}
    position = 0
    for _ in range(count):
        fields = struct.unpack("<4s6H3L5H2L", data[position : position + 46])
        signature, _, _, flags, method, _, _, crc, stored, size = fields[:10]
        name_length, extra_length, comment_length, _, _, attributes, start = fields[10:]
        if signature != b"PK\1\2":
            raise ZipError("its directory is broken")
        rest = data[position + 46 : position + 46 + name_length + extra_length]
        position += 46 + name_length + extra_length + comment_length
        if position > len(data) or len(rest) != name_length + extra_length:
            raise ZipError("its directory is broken")
        name = _checked_name(rest[:name_length])
        size, stored, start = _long_fields(rest[name_length:], size, stored, start)
        if flags & 0b100001:
            raise ZipError(f"{name} is encrypted; decrypt the archive first")
        if attributes >> 28 == 0xA:
            raise ZipError(f"{name} is a symbolic link, which no checkpoint needs")
        if method not in (0, 8):
            raise ZipError(f"{name} is compressed by method {method}; PyTorch stores its members")
        if method == 0 and stored != size:
            raise ZipError(f"{name} is not compressed, but of two sizes")
        if name in members:
            raise ZipError(f"{name} is in it twice")
        members[name] = Member(name, start, stored, size, method == 8, crc)
    if position != len(data):
        raise ZipError("its directory is broken")
    return members


def _checked_name(raw: bytes) -> str:
    try:
        name = raw.decode()
    except UnicodeDecodeError as error:
        raise ZipError("the name of a member is not UTF-8") from error
    if not name or len(name) > 1000 or not name.isprintable():
        raise ZipError(f"a member has the name {name[:100]!r}")
    parts = name.removesuffix("/").split("/")
    if "\\" in name or ":" in parts[0] or any(part in ("", ".", "..") for part in parts):
        raise ZipError(f"the name {name[:100]!r} is absolute or climbs out of the archive")
    return name


def _long_fields(extra: bytes, size: int, stored: int, start: int) -> tuple[int, int, int]:
    """The three fields, those of 0xffffffff replaced by the 64-bit ones of the extra field."""
    values = [size, stored, start]
    if 0xFFFFFFFF not in values:
        return size, stored, start
    position = 0
    while position + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, position)
        if kind == 1:
            numbers = struct.unpack_from(f"<{length // 8}Q", extra, position + 4)
            wanted = [i for i, value in enumerate(values) if value == 0xFFFFFFFF]
            if len(numbers) < len(wanted):
                raise ZipError("its directory is broken")
            for i, number in zip(wanted, numbers, strict=False):
                values[i] = number
            return values[0], values[1], values[2]
        position += 4 + length
    return size, stored, start


def _check_sizes(members: dict[str, Member], length: int, directory: int) -> None:
    """Members must have room side by side before the directory, and not inflate out of proportion."""
    if sum(member.stored + 30 for member in members.values()) > directory:
        raise ZipError("its members are longer than the file, or lie on top of each other")
    inflated = sum(member.size for member in members.values() if member.compressed)
    if inflated > max(SMALL, MOST_INFLATION * length):
        raise ZipError(
            f"it would inflate from {length} to {inflated} bytes, which looks like a bomb; PyTorch stores "
            "its members uncompressed"
        )


def _data_start(file: BinaryIO, member: Member, directory: int) -> int:
    """Where a member's bytes begin, after its local header."""
    if member.start + 30 > directory:
        raise ZipError(f"{member.name} lies outside of the file")
    header = struct.unpack("<4s5H3L2H", _read(file, member.start, 30))
    name_length, extra_length = header[9:]
    name = _read(file, member.start + 30, name_length)
    start = member.start + 30 + name_length + extra_length
    if header[0] != b"PK\3\4" or name != member.name.encode() or start + member.stored > directory:
        raise ZipError(f"{member.name} is not where the directory says, or another member")
    return start
