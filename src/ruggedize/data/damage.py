"""Diagnosis of files that are not valid images: what they are instead, or where the damage is."""

import zlib
from pathlib import Path

from ruggedize.core.errors import UserError
from ruggedize.core.reading import open_regular

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8\xff"
MOST_BYTES = 1 << 26  # how much of a file is read
OTHERS = (  # signatures of other formats: offset, bytes, name
    (0, b"II*\0", "a TIFF"),
    (0, b"MM\0*", "a TIFF"),
    (0, b"GIF8", "a GIF"),
    (4, b"ftypheic", "a HEIC picture"),
    (4, b"ftypheix", "a HEIC picture"),
    (4, b"ftypmif1", "a HEIF picture"),
    (4, b"ftypavif", "an AVIF picture"),
    (4, b"ftyp", "a video"),
    (0, b"\0\0\0\x0cJXL ", "a JPEG XL picture"),
    (0, b"\xff\x0a", "a JPEG XL picture"),
    (0, b"\0\0\0\x0cjP  ", "a JPEG 2000 picture"),
    (0, b"8BPS", "a Photoshop file"),
    (0, b"%PDF", "a PDF"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"<svg", "an SVG drawing"),
    (0, b"<?xml", "an XML or SVG file"),
    (0, b"<!doctype html", "a web page"),
    (0, b"<html", "a web page"),
)


def reason_of(source: Path | bytes) -> str:
    """Return what is wrong with a file, to follow its name in a message; empty if unknown."""
    data = source if isinstance(source, bytes) else beginning(source)
    if not data:
        return "is empty (0 bytes); remove or replace it"
    start = data[:64].lower()
    for offset, mark, name in OTHERS:
        if start[offset:].startswith(mark.lower()):
            return f"is {name}, despite its name; convert it to PNG or JPEG"
    if data.startswith(PNG):
        return png_fault(data)
    for mark, name in ((PNG, "PNG"), (JPEG, "JPEG")):
        place = data[:1024].find(mark)
        if place > 0:
            return f"has {place} bytes before its {name} data; remove them, or save the image again"
    return ""


def beginning(file: Path) -> bytes:
    """Read a file, up to `MOST_BYTES`; return a placeholder if it cannot be read."""
    try:
        with open_regular(file) as opened:
            return opened.read(MOST_BYTES)
    except (OSError, UserError):
        return b"?"


def png_fault(data: bytes) -> str:
    """Return what is wrong with the chunks of a PNG; empty if they are intact."""
    place = len(PNG)
    while place + 8 <= len(data):
        length, kind = int.from_bytes(data[place : place + 4]), data[place + 4 : place + 8]
        end = place + 8 + length
        if end + 4 > len(data):
            break
        if zlib.crc32(data[place + 4 : end]) != int.from_bytes(data[end : end + 4]):
            name = kind.decode("ascii", "replace")
            return f"is damaged: its chunk {name} has a wrong checksum; save the image again"
        if kind == b"IEND":
            return ""
        place = end + 4
    return "is truncated: its last chunk is missing; replace it"
