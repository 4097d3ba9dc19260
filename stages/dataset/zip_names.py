"""The names of a zip's members, read as the programs meant them that wrote them.

:mod:`zipfile` takes every name for one in code page 437 unless a flag says that it is UTF-8. Few programs set that
flag. Info-ZIP's ``zip`` and macOS write UTF-8 without it; where ``zip`` had to simplify a name, it adds the real one in
a field of its own. Windows writes the code page of its country, and some of its programs write backslashes.
"""

from __future__ import annotations

import struct
import zipfile
import zlib

_UTF8_FLAG = 0x800  # PKWARE's APPNOTE 4.4.4, bit 11
_UNICODE_PATH = 0x7075  # Info-ZIP's second name; APPNOTE 4.6.9
# In code page 437 these bytes are lines to draw boxes with, which are in no name. In 850, that of western Europe, which
# has the same letters elsewhere, they are letters too: Á Â À ã Ã ð Ð Ê Ë È Í Î Ï Ì.
_BOX_DRAWING = frozenset(range(0xB0, 0xE0))


def member_name(info: zipfile.ZipInfo) -> str:
    """The path of a zip's member, with slashes between its parts; a zero byte in it is kept."""
    name = info.orig_filename  # as stored; the other attribute has been cut at a zero byte
    if not info.flag_bits & _UTF8_FLAG and (b"up" in info.extra or not name.isascii()):  # "up" is 0x7075
        stored = name.encode("cp437")
        name = _unicode_path(info.extra, stored) or _decoded(stored)
    # As in Info-ZIP's unzip: in a name that has slashes, a backslash is none.
    return name if "/" in name else name.replace("\\", "/")


def _decoded(stored: bytes) -> str:
    try:
        return stored.decode()
    except UnicodeDecodeError:
        return stored.decode("cp437" if _BOX_DRAWING.isdisjoint(stored) else "cp850")


def _unicode_path(extra: bytes, stored: bytes) -> str | None:
    """The second name, if there is one and it belongs to the first: it holds that one's checksum."""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        field, extra = extra[4 : 4 + length], extra[4 + length :]
        if kind == _UNICODE_PATH and field[:5] == struct.pack("<BL", 1, zlib.crc32(stored)):
            try:
                return field[5:].decode()
            except UnicodeDecodeError:
                return None
    return None
