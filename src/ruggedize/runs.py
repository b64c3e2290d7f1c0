"""A run folder: files that are whole or absent, what was run, and the metrics as they come."""

import difflib
import errno
import hashlib
import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any, BinaryIO, Protocol, runtime_checkable

PARTIAL = ".partial"  # how the name of a file ends that is being written
ENVIRONMENT_PACKAGES = (
    "ruggedize",
    "torch",
    "numpy",
    "numba",
    "accelerate",
    "safetensors",
    "pillow",
)


class UserError(Exception):
    """A mistake of the user's: at most three lines, the last of which names the cure."""


def shown(path: str | os.PathLike[str]) -> str:
    """Write a path so that it can be printed on one line and stored, whatever bytes it holds."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


@runtime_checkable
class Progress(Protocol):
    """Told how far a task is; the command line draws bars from it."""

    def __call__(self, task: str, done: int, total: int) -> None:
        """Record that `done` of `total` pieces of `task` are done."""
        ...


def no_progress(task: str, done: int, total: int) -> None:
    """Show nothing."""


def refuse_unwritable_folder(folder: Path) -> None:
    """Raise UserError for a folder that cannot be made or written to."""
    there = next(place for place in (folder, *folder.absolute().parents) if os.path.lexists(place))
    if not there.is_dir():
        raise UserError(
            f"{folder} cannot be a folder: {there} is a file;\ngive another place with --out"
        )
    if not os.access(there, os.W_OK):
        raise UserError(f"{there} cannot be written to;\ngive another place with --out")


def refuse_unwritable_file(path: Path) -> None:
    """Raise UserError for a file that cannot be written."""
    if path.is_dir():
        raise UserError(f"{path} is a folder;\ngive the name of a file with --out")
    refuse_unwritable_folder(path.parent)


def refuse_missing_run(folder: Path) -> None:
    """Reject a run folder that is not there, naming one beside it that is called alike."""
    if folder.is_dir():
        return
    beside = [path.name for path in folder.absolute().parent.glob("*") if path.is_dir()]
    near = difflib.get_close_matches(folder.name, beside, 1)
    hint = f"did you mean {folder.with_name(near[0])}?" if near else "run it first"
    raise UserError(f"there is no run folder {folder}; {hint}")


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that takes its place once it is complete and on the disk.

    Whatever happens, to the process or to the machine, `path` is whole, as it was, or absent.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        flush_folder(path.parent)
    except OSError as error:
        if error.filename is None or Path(error.filename) == partial:
            error.filename = str(path)  # a write says not which file it was for
        raise
    finally:
        partial.unlink(missing_ok=True)


def flush_folder(folder: Path) -> None:
    """Flush a folder's entries to disk; without it a power failure can lose a renamed file."""
    if os.name == "nt":  # Windows cannot open a folder
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network drives know no such
            raise
    finally:
        os.close(descriptor)


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file that is whole or absent, even when the process or the machine dies."""
    with whole_file(path) as file:
        file.write(data)


def write_json(path: Path, content: Any) -> None:
    """Write JSON with a stable layout: equal content gives equal bytes."""
    write_atomically(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())


def sha256(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write `metrics.jsonl` anew, one JSON object a line."""
    write_atomically(
        path, "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows).encode()
    )


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read `metrics.jsonl`; a file that is not there has no rows."""
    if not path.exists():
        return []
    return [row_in(path, n, line) for n, line in enumerate(path.read_bytes().splitlines(), 1)]


def row_in(path: Path, number: int, line: bytes) -> dict[str, Any]:
    """Read one line."""
    try:
        row = json.loads(line)
    except ValueError:
        row = None
    if not isinstance(row, dict):
        raise UserError(f"{path}: line {number} is damaged; delete that line")
    return row


def environment() -> dict[str, Any]:
    """Describe the machine and the versions that a run's figures belong to."""
    import torch

    accelerators = range(torch.cuda.device_count())
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "gpus": [torch.cuda.get_device_name(number) for number in accelerators],
        "packages": {name: version(name) for name in ENVIRONMENT_PACKAGES},
        "source": source_digest(),
    }


def source_digest() -> str:
    """Return a digest of this package's own source: a checkout's version number says too little."""
    package = Path(__file__).parent
    digest = hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        digest.update(f"{file.relative_to(package)}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def version(package: str) -> str | None:
    """Return an installed package's version, or nothing."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def processor() -> str:
    """Name the processor."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def holds_custom(table: Any) -> bool:
    """Whether options in JSON name a model, an objective or noise of the user's own."""
    if isinstance(table, dict):
        own = "custom" in (table.get("kind"), table.get("name"))
        return own or any(map(holds_custom, table.values()))
    return isinstance(table, list) and any(map(holds_custom, table))


def flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested tables to dotted keys."""
    result = {}
    for key, value in table.items():
        if isinstance(value, dict):
            result |= flat(value, f"{prefix}{key}.")
        else:
            result[prefix + key] = value
    return result
