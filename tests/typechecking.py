"""Types and shapes of every call, checked while the tests run."""

from pathlib import Path

from beartype import BeartypeConf, beartype

SOURCE = Path(__file__).resolve().parents[1] / "src"

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))


def modules_without_kernels() -> list[str]:
    """List our modules, without those that numba compiles: it takes no wrapped functions.

    Nor those whose public functions refuse wrong arrays themselves, which has tests of its own.
    """
    files = [path for path in SOURCE.rglob("*.py") if "@kernel" not in path.read_text()]
    names = [".".join(path.relative_to(SOURCE).with_suffix("").parts) for path in files]
    left_out = ("__init__", "__main__", "corruptions.corrupting", "views.augment")
    return [name for name in names if not name.endswith(left_out)]
