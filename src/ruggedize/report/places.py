"""Output files of reports. Imports no torch."""

from collections.abc import Sequence
from pathlib import Path

from ruggedize.core.errors import UserError

ENDINGS = {
    "html": (".html", ".htm"),
    "md": (".md", ".markdown", ".txt"),
    "csv": (".csv", ".txt"),
    "latex": (".tex", ".txt"),
}
READ = (".json", ".toml", ".safetensors", ".onnx", ".npz", ".py")  # inputs of commands


def default_page(runs: Sequence[Path]) -> Path:
    """Return the default page, next to the first input: `mine.html` for `mine.json`."""
    if not runs:
        raise UserError(
            "there is nothing to report on;\ngive a run folder or an assessment (.json)"
        )
    first = runs[0]
    if first.suffix == ".json":
        return first.with_suffix(".html")
    folder = first if first.name not in ("", "..") else first.resolve()
    return folder.with_name(f"{folder.name}.html")


def reject_other_ending(out: Path | None, kind: str) -> None:
    """Raise UserError for a file name of another format, or of a file that commands read."""
    if out is None or out.suffix.lower() in ENDINGS[kind]:
        return
    if out.suffix.lower() in READ:
        raise UserError(
            f"a report is not written into a {out.suffix} file, got --out {out};\n"
            f"give a file that ends with {ENDINGS[kind][0]}"
        )
    for other, endings in ENDINGS.items():
        if out.suffix.lower() in endings:
            raise UserError(
                f"--format {kind} does not write {out.suffix} files, got --out {out};\n"
                f"give --format {other}, or a file that ends with {ENDINGS[kind][0]}"
            )
