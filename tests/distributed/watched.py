"""The command line, while every file that this process writes below a folder is noted."""

import json
import os
import sys
from pathlib import Path

from ruggedize.cli.main import main

WRITES = {"os.rename": 1, "os.mkdir": 0, "os.remove": 0}  # audit event: which argument is written


def watch(folder: Path) -> set[str]:
    """Note what is opened for writing, renamed, made or removed below a folder."""
    found: set[str] = set()

    def hook(event: str, arguments: tuple) -> None:
        if event == "open":
            path, mode, flags = arguments
            writes = bool(set(mode or "") & set("wax+")) or flags & (os.O_WRONLY | os.O_RDWR)
        elif event in WRITES:
            path, writes = arguments[WRITES[event]], True
        else:
            return
        if writes and isinstance(path, str | os.PathLike) and folder in Path(path).parents:
            found.add(str(path))

    sys.addaudithook(hook)
    return found


if __name__ == "__main__":
    notes, folder = Path(sys.argv.pop(1)), Path(sys.argv[sys.argv.index("--out") + 1])
    found = watch(folder)
    main()
    rank = os.environ["RANK"]
    (notes / f"written-{rank}.json").write_text(json.dumps(sorted(found)))
