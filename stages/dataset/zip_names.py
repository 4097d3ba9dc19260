"""Reads the names of a zip's members as the programs that wrote them meant them.

:mod:`zipfile` reads a name in code page 437 unless a flag says UTF-8. Few programs set that flag. Info-ZIP's ``zip``
and macOS write UTF-8 without it; if ``zip`` must simplify a name, it adds the real one in an extra field. Windows
writes its country's code page, and some of its programs write backslashes.
"""

from __future__ import annotations

import struct
import zipfile
import zlib

_UTF8_FLAG = 0x800  # PKWARE's APPNOTE 4.4.4, bit 11
_UNICODE_PATH = 0x7075  # Info-ZIP's second name; APPNOTE 4.6.9
# In code page 437 these bytes draw boxes, and no name has such characters. Code page 850 of western Europe agrees on
# the other letters, and has more letters at these bytes: Á Â À ã Ã ð Ð Ê Ë È Í Î Ï Ì.
_BOX_DRAWING = frozenset(range(0xB0, 0xE0))


def member_name(info: zipfile.ZipInfo) -> str:
    """The path of a zip's member, with slashes between its parts; a zero byte in it is kept."""
    name = info.orig_filename  # unlike `filename`, not cut at a zero byte
    if not info.flag_bits & _UTF8_FLAG and (b"up" in info.extra or not name.isascii()):  # "up" is 0x7075
        stored = name.encode("cp437")
        name = _unicode_path(info.extra, stored) or _decoded(stored)
    # Like Info-ZIP's unzip: a backslash separates folders only in a name without slashes.
    return name if "/" in name else name.replace("\\", "/")


def _decoded(stored: bytes) -> str:
    try:
        return stored.decode()
    except UnicodeDecodeError:
        return stored.decode("cp437" if _BOX_DRAWING.isdisjoint(stored) else "cp850")


def _unicode_path(extra: bytes, stored: bytes) -> str | None:
    """The name in the extra field, if its checksum is that of the stored name."""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        field, extra = extra[4 : 4 + length], extra[4 + length :]
        if kind == _UNICODE_PATH and field[:5] == struct.pack("<BL", 1, zlib.crc32(stored)):
            try:
                return field[5:].decode()
            except UnicodeDecodeError:
                return None
    return None
