"""`make bench` fails where ours falls behind its peers, and says what it could not judge."""

import json
from pathlib import Path
from typing import Any

import pytest
from benchmarks import compare, record, tables
from benchmarks.guard import judge
from benchmarks.record import Content, add_group, begun, installed_version, missing_peers

RATIO = "32 px: ours / theirs"


def content(ratio: float | None, version: str = "1.0") -> Content:
    """Return a result with one ratio, or with none."""
    found = begun(1) | {"peers": {"peer": version}}
    rates = {"ours": [100.0], "theirs": [100.0 / (ratio or 1)]}
    if ratio is None:
        del rates["theirs"]
    add_group(found, "32 px", rates, [("ours", "theirs", ("peer",))])
    return found


def test_a_ratio_that_falls_by_a_fifth_passes_and_by_more_fails() -> None:
    assert judge(content(10), content(8.1)).failures == []
    [failure] = judge(content(10), content(7.9)).failures
    assert failure == f"{RATIO}: fell by 21%, from 10 to 7.9 (quartile 3)"


def test_the_upper_quartile_is_judged_and_not_the_median() -> None:
    noisy = content(10)
    noisy["ratios"][RATIO] |= {"ratio": 6.0, "quartiles": [4.0, 8.1]}
    assert judge(content(10), noisy).failures == []
    noisy["ratios"][RATIO] |= {"ratio": 7.9, "quartiles": [7.9, 7.9]}
    assert judge(content(10), noisy).failures


def test_a_ratio_that_rises_passes() -> None:
    assert judge(content(10), content(30)) == ([], [])


def test_a_missing_peer_is_named_and_not_passed_over() -> None:
    verdict = judge(content(10), content(None, "missing"))
    assert verdict.failures == []
    assert verdict.not_judged == [f"{RATIO}: peer missing"]


def test_a_ratio_that_is_no_longer_measured_fails_while_its_peer_is_installed() -> None:
    [failure] = judge(content(10), content(None)).failures
    assert "is not measured any more" in failure


@pytest.mark.parametrize("committed", [None, {"images_per_second": {}}])
def test_nothing_to_compare_with_is_said(committed: Content | None) -> None:
    assert judge(committed, content(10)).not_judged


def test_a_ratio_is_the_median_of_the_rounds_own_ratios() -> None:
    found: dict[str, Any] = begun(3)
    rates = {"ours": [100.0, 10.0, 60.0], "theirs": [50.0, 5.0, 20.0]}  # the machine slowed down
    add_group(found, "g", rates, [("ours", "theirs", ("peer",)), ("ours", "absent", ("peer",))])
    assert found["ratios"] == {
        "g: ours / theirs": {"ratio": 2.0, "quartiles": [2.0, 3.0], "needs": ["peer"]}
    }
    assert found["images_per_second"]["g"]["ours"]["images_per_second"] == 60.0


def test_a_package_that_is_not_installed_is_missing() -> None:
    assert installed_version("no-such-package-as-this") == "missing"
    assert installed_version("torch") != "missing"
    assert missing_peers(begun(1, ("torch", "no-such-package-as-this"))) == [
        "no-such-package-as-this"
    ]


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Replace the committed results and the page by a folder of the test's own."""
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "mine.json").write_text(json.dumps(content(10)))
    page = tmp_path / "performance.md"
    page.write_text("<!-- table: mine -->\nold\n<!-- end -->\n")
    monkeypatch.setattr(record, "RESULTS", folder)
    monkeypatch.setattr(tables, "RESULTS", folder)
    monkeypatch.setattr(tables, "PAGE", page)
    return folder


def test_the_command_exits_1_and_names_the_ratio(results: Path) -> None:
    before = (results / "mine.json").read_text()
    with pytest.raises(SystemExit) as error:
        compare.compare({"mine": lambda rounds: {"mine": content(7.9)}}, [])
    assert isinstance(error.value.code, str)  # which Python prints, exiting 1
    assert f"{RATIO}: fell by 21%" in error.value.code
    assert (results / "mine.json").read_text() == before
    compare.compare({"mine": lambda rounds: {"mine": content(8.1)}}, [])


def test_update_writes_the_result_and_the_page(results: Path) -> None:
    compare.compare({"mine": lambda rounds: {"mine": content(5)}}, ["--update", "mine"])
    assert json.loads((results / "mine.json").read_text())["ratios"][RATIO]["ratio"] == 5
    assert "| ours / theirs | **5** |" in tables.PAGE.read_text()
    assert "old" not in tables.PAGE.read_text()


def test_a_missing_peer_is_printed(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compare.compare({"mine": lambda rounds: {"mine": content(None, "missing")}}, [])
    printed = capsys.readouterr().out
    assert "missing: peer" in printed
    assert f"not judged: {RATIO}: peer missing" in printed


def test_the_rounds_that_are_asked_for_are_measured(results: Path) -> None:
    asked = []

    def measure(rounds: int) -> dict[str, Content]:
        asked.append(rounds)
        return {"mine": content(10)}

    compare.compare({"mine": measure}, ["--rounds", "2"])
    assert asked == [2]


@pytest.mark.parametrize("arguments", [["yours"], ["--rounds", "0"]])
def test_what_cannot_be_measured_is_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as error:
        compare.compare({"mine": lambda rounds: {}}, arguments)
    assert error.value.code == 2
