"""A test without its data is skipped, but fails where nothing may be missing."""

import pytest

from tests.conftest import required_path


def test_data_that_is_missing_skips_or_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUGGEDIZE_TEST_DATA", "/nowhere")
    monkeypatch.setenv("CI", "true")  # of itself it requires nothing
    monkeypatch.delenv("RUGGEDIZE_REQUIRE_DATA", raising=False)
    with pytest.raises(pytest.skip.Exception, match="RUGGEDIZE_TEST_DATA"):
        required_path("RUGGEDIZE_TEST_DATA")
    monkeypatch.setenv("RUGGEDIZE_REQUIRE_DATA", "1")
    with pytest.raises(pytest.fail.Exception, match="RUGGEDIZE_TEST_DATA"):
        required_path("RUGGEDIZE_TEST_DATA")
