"""Types and shapes of every call, checked while the tests run."""

from pathlib import Path

from beartype import BeartypeConf, beartype

SOURCE = Path(__file__).resolve().parents[1] / "src"

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))


def modules_without_kernels() -> list[str]:
    """List our modules, without those that numba compiles: it takes no wrapped functions."""
    files = [path for path in SOURCE.rglob("*.py") if "@kernel" not in path.read_text()]
    names = [".".join(path.relative_to(SOURCE).with_suffix("").parts) for path in files]
    return [name for name in names if not name.endswith(("__init__", "__main__"))]
