"""What a reader does to the world while it reads: nothing may be written, sent or started."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate")
FORBIDDEN = (*CHANGES, "socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.system")

_seen: list[str] | None = None  # None: nobody watches (an audit hook cannot be taken away again)


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if _seen is None:
        return
    opens_for_writing = (
        event == "open" and isinstance(arguments[2], int) and bool(arguments[2] & WRITING)
    )
    if opens_for_writing or event in FORBIDDEN or event == "pickle.find_class":
        _seen.append(f"{event}: {arguments[0]!r}")


sys.addaudithook(_hook)


@contextmanager
def untouched_world() -> Iterator[None]:
    """Fail where a file is written, anything is sent or started, or a pickle names a class."""
    global _seen
    _seen = seen = []
    try:
        yield
    finally:
        _seen = None
        assert not seen, seen  # also where the reader has refused
