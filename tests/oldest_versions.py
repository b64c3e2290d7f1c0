"""Prints the constraints of `make test-oldest`: each lower bound in pyproject.toml as a pin.

All else that is installed there, torch included, is pinned as in constraints.txt.
"""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OF_ONE_VERSION = frozenset({"llvmlite", "pydantic-core"})  # of numba and pydantic


def name_of(line: str) -> str:
    """Return the normalised name of the package that a requirement or pin is about."""
    found = re.match(r"[\w.-]+", line)
    assert found, line
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def oldest_versions(requirements: list[str], pins: list[str]) -> list[str]:
    """Return requirements pinned to their lower bounds, and the pins of all other packages."""
    oldest = {name_of(text): text.replace(">=", "==") for text in requirements}
    del oldest["torch"]  # its older wheels for a CPU alone are not on every index
    others = [pin for pin in pins if name_of(pin) not in oldest.keys() | OF_ONE_VERSION]
    return [*oldest.values(), *others]


def main() -> None:
    """Print the constraints."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    print("\n".join(oldest_versions(project["dependencies"], pins)))  # noqa: T201


if __name__ == "__main__":
    main()
