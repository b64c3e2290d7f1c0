"""Whether the delivered weights of a training were chosen among several epochs."""

from ruggedize.report.record import RunRecord


def has_chosen_epoch(record: RunRecord, name: str) -> bool:
    """Return whether a model's delivered epoch was chosen among several, by validation.

    Trainings of an earlier version do not record the number of candidates. There, averages were
    compared if there were any, else raw weights under early stopping; without either, the last
    epoch was delivered.
    """
    num_candidates = record.delivered[name].get("num_candidates")
    if num_candidates is not None:
        return num_candidates > 1
    rows = record.metrics[name]
    averages = [row for row in rows if row["validation"]["averaged"]]
    if averages:
        return len(averages) > 1
    return len(rows) > 1 and "early_stopping" in record.stage(name)
