"""Compiled kernels are kept apart by what they were compiled from, by and for."""

from pathlib import Path

import numba
import pytest
from numba.core import codegen

from ruggedize.kernels import kernel


def folder() -> Path | None:
    kernel.kernel_folder.cache_clear()
    return kernel.kernel_folder()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    yield
    kernel.kernel_folder.cache_clear()


def test_the_folder_is_the_same_as_long_as_nothing_changes(tmp_path: Path) -> None:
    first = folder()
    assert first is not None
    assert first.parent == tmp_path
    assert folder() == first


def test_another_version_of_numba_has_its_own_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    before = folder()
    monkeypatch.setattr(numba, "__version__", "0.0.1")
    assert folder() != before


def test_another_processor_has_its_own_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    before = folder()
    monkeypatch.setattr(codegen, "get_host_cpu_features", lambda: "+another")
    assert folder() != before


def test_changed_sources_have_their_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = folder()
    changed = tmp_path / "package"
    for name in kernel.KERNEL_FOLDERS:
        (changed / name).mkdir(parents=True)
        (changed / name / "source.py").write_text("x = 1")
    monkeypatch.setattr(kernel, "PACKAGE", changed)
    assert folder() != before
