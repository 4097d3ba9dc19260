"""Tar archives from elsewhere, read in one pass: only the files asked for, only into memory, within bounds.

Nothing is ever extracted to disk, so a link or a name that climbs out of the archive could do no harm; such an archive
is refused all the same, because whoever made it did not make it from CIFAR-10.
"""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, cast

from stages.common.console import UserError

# Both archives of CIFAR-10 have a dozen members and at most 186 MB.
MAX_MEMBERS = 100
MAX_BYTES = 256_000_000


def top_folder(archive: Path) -> str:
    """The folder that the first member lies in, which tells one kind of archive from another.

    Raises:
        UserError: the file can't be read as a gzipped tar archive.
    """
    with _opened(archive) as tar:
        first = tar.next()
    return "".join(PurePosixPath(first.name).parts[:1]) if first else ""


def read_members(archive: Path, largest: Mapping[str, int]) -> Iterator[tuple[str, bytes]]:
    """Yield the name and content of each member that ``largest`` names, in the order of the archive.

    Args:
        archive: a gzipped tar archive.
        largest: by name of each wanted member, the most bytes that it may have.

    Raises:
        UserError: the archive is damaged, a wanted member is missing or too large, a name is absolute, climbs out or
            comes twice, a member is neither a plain file nor a folder, or there are more members or bytes in all than
            ``MAX_MEMBERS`` and ``MAX_BYTES``.
    """
    seen: set[str] = set()
    with _opened(archive) as tar:
        for member in tar:
            _refuse_unusual(archive, member, seen)
            seen.add(member.name)
            if member.name not in largest:
                continue
            if member.size > largest[member.name]:
                raise UserError(f"{archive}: {member.name} has {member.size:,} bytes; {largest[member.name]:,} at most")
            content = cast("IO[bytes]", tar.extractfile(member)).read()
            if len(content) != member.size:
                raise UserError(f"{archive} is truncated in {member.name}")
            yield member.name, content
    for name in largest:
        if name not in seen:
            raise UserError(f"{archive} holds no {name}")


def _refuse_unusual(archive: Path, member: tarfile.TarInfo, seen: set[str]) -> None:
    path, shown = PurePosixPath(member.name), repr(member.name[:100])
    if path.is_absolute() or ".." in path.parts:
        raise UserError(f"{archive}: the name {shown} leads out of the archive")
    if member.name in seen:
        raise UserError(f"{archive} holds {shown} twice")
    if member.issparse() or not (member.isfile() or member.isdir()):
        raise UserError(f"{archive}: {shown} is neither a plain file nor a folder")
    if not 0 <= member.size <= MAX_BYTES:
        # tarfile would look for the end of such a member long after the end of the archive.
        raise UserError(f"{archive}: {shown} declares a false size")
    if len(seen) >= MAX_MEMBERS:
        raise UserError(f"{archive} holds more than {MAX_MEMBERS} members")


class _Bounded:
    """The first ``MAX_BYTES`` of what a gzip file inflates to; to read beyond them is an error."""

    def __init__(self, archive: Path, inflated: gzip.GzipFile) -> None:
        self._archive, self._inflated, self._left = archive, inflated, MAX_BYTES

    def read(self, size: int) -> bytes:
        content = self._inflated.read(min(size, self._left + 1))
        self._left -= len(content)
        if self._left < 0:
            raise UserError(f"{self._archive} inflates to more than {MAX_BYTES:,} bytes")
        return content


# All that gzip and tarfile raise for an archive that is damaged, or made to look so.
_DAMAGE = (gzip.BadGzipFile, zlib.error, tarfile.TarError, EOFError, ValueError, IndexError, RecursionError)


@contextmanager
def _opened(archive: Path) -> Iterator[tarfile.TarFile]:
    """The archive as a stream: it is read forwards only, and what can be wrong with it is a UserError."""
    try:
        with gzip.open(archive) as inflated:
            bounded = cast("IO[bytes]", _Bounded(archive, inflated))
            with tarfile.open(fileobj=bounded, mode="r|") as tar:
                yield tar
    except (FileNotFoundError, IsADirectoryError) as error:
        raise UserError(f"{archive}: {(error.strerror or '').lower()}") from None
    except _DAMAGE as error:
        raise UserError(f"{archive} is not a gzipped tar archive, or is damaged: {str(error)[:200]}") from error
