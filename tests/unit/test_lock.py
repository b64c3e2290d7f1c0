"""What an installation for development brings along is pinned, and checked by its hashes.

`constraints.txt` pins everything, `requirements.lock` has the hashes of all but torch's own wheels.
"""

import re
import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

OF_TORCH = ("nvidia-", "cuda-", "triton")  # what its CUDA wheel brings along
ROOT = Path(__file__).resolve().parents[2]


def pins() -> dict[str, str]:
    """Return the pinned version of every package."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in pairs}


def locked() -> dict[str, tuple[str, list[str]]]:
    """Return the locked version of every package and the hashes of its files."""
    text = (ROOT / "requirements.lock").read_text().replace("\\\n", " ")
    entries = re.findall(r"^([^#\s=]+)==(\S+)(.*)$", text, re.MULTILINE)
    return {
        canonicalize_name(name): (version, re.findall(r"--hash=sha256:([0-9a-f]{64})\b", rest))
        for name, version, rest in entries
    }


def needed() -> dict[str, str]:
    """Return the installed version of every package that the project needs, through any other."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    direct = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    waiting = [(Requirement(text), "") for text in direct]
    found: dict[tuple[str, str], str] = {}
    while waiting:
        requirement, extra = waiting.pop()
        name = canonicalize_name(requirement.name)
        is_here = requirement.marker is None or requirement.marker.evaluate({"extra": extra})
        for asked in ("", *requirement.extras):
            if is_here and (name, asked) not in found:
                found[name, asked] = metadata.version(name)
                waiting += [(Requirement(text), asked) for text in metadata.requires(name) or []]
    return {name: version for (name, _), version in found.items()}


def test_everything_is_pinned() -> None:
    assert not {name for name in needed() if not name.startswith(OF_TORCH)} - pins().keys()


def test_everything_but_torch_is_checked_by_hashes() -> None:
    others = {name for name in needed() if not name.startswith(OF_TORCH)} - {"torch", "torchvision"}
    assert not others - locked().keys()
    assert all(hashes for _, hashes in locked().values())


def test_the_lock_has_the_versions_that_are_pinned() -> None:
    elsewhere = {"colorama", "httpx2-jsfetch"}  # for Windows and for browsers
    versions = {name: version for name, (version, _) in locked().items() if name not in elsewhere}
    assert versions == {name: pins()[name] for name in versions}


def test_no_package_is_pinned_twice() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert len([line for line in lines if line and not line.startswith("#")]) == len(pins())


def test_the_peers_of_the_benchmarks_are_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    peers = map(Requirement, project["optional-dependencies"]["bench"])
    assert not {canonicalize_name(peer.name) for peer in peers} - pins().keys()


def test_a_package_is_needed_through_others_and_extras() -> None:
    found = needed()
    assert {"markupsafe", "mpmath", "annotated-types"} <= found.keys()  # through another one
    assert found["setuptools"] == metadata.version("setuptools")
    assert "pytest-cov" not in found  # for a package's own tests, which nobody asked for
