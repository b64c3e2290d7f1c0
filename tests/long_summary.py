"""What `make test-long` found, kept as JSON beside the benchmarks: claims rest on it.

Hooks of pytest's, which `conftest.py` takes over. A test adds figures with `record_property`.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from ruggedize.core import files
from ruggedize.core.environment import environment

RESULT = Path(__file__).resolve().parents[1] / "benchmarks" / "results" / "test-long.json"
REPORTS: list[pytest.TestReport] = []  # of this process: with several, of all, at their controller


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep a report; one comes for each test's setup, call and teardown."""
    REPORTS.append(report)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the summary after a run of whole files of long tests."""
    config = session.config
    is_worker = getattr(config, "workerinput", None) is not None
    is_chosen_from = config.option.keyword or any("::" in argument for argument in config.args)
    if config.option.markexpr == "long" and not is_worker and not is_chosen_from and REPORTS:
        earlier = json.loads(RESULT.read_text()) if RESULT.exists() else {}
        files.write_json(RESULT, earlier | by_file(REPORTS, environment()))


def by_file(reports: list[pytest.TestReport], environment: dict[str, Any]) -> dict[str, Any]:
    """Sum up each file's tests: outcomes, seconds, and the figures that they recorded."""
    files: dict[str, Any] = {}
    for report in reports:
        file, _, name = report.nodeid.partition("::")
        found = files.setdefault(file, {"environment": environment, "tests": {}})["tests"]
        entry = found.setdefault(name, {"outcome": "passed", "seconds": 0.0})
        entry["seconds"] = round(entry["seconds"] + report.duration, 1)
        if report.outcome != "passed":
            entry["outcome"] = report.outcome
        entry |= dict(report.user_properties)
    return {file: counted(content) for file, content in sorted(files.items())}


def counted(content: dict[str, Any]) -> dict[str, Any]:
    """Prefix a file's tests with the counts of outcomes."""
    outcomes = [entry["outcome"] for entry in content["tests"].values()]
    counts = {outcome: outcomes.count(outcome) for outcome in sorted(set(outcomes))}
    return {"environment": content["environment"], **counts, "tests": content["tests"]}
