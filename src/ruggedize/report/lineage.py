"""The weights of other origin that a run's model started from."""

from pathlib import Path

from ruggedize.report.record import RunRecord, read_run


def origins(run: Path, stage: str) -> list[dict[str, str | None]]:
    """Return source, SHA-256 and licence of pretrained weights and files, through other stages.

    Raises:
        UserError: the run holds no assessment, or it is damaged.
    """
    record = read_run(run)
    found: dict[str, dict[str, str | None]] = {}
    for name in sources_of(record, stage, []):
        start = record.delivered[name].get("training", {}).get("start")
        if start and start["source"] not in record.delivered:
            found[start["sha256"]] = start
    return list(found.values())


def sources_of(record: RunRecord, stage: str, known: list[str]) -> list[str]:
    """Return a stage and those whose weights it started from or lies between, each once."""
    if stage in known or stage not in record.delivered:
        return known
    start = record.delivered[stage].get("training", {}).get("start") or {}
    options = record.stage(stage)
    known = [*known, stage]
    for name in (start.get("source"), options.get("interpolate"), options.get("start")):
        known = sources_of(record, str(name), known)
    return known
