"""Differences between the runs of two groups, paired by seed and image. Imports no torch."""

from ruggedize.assess import Interval
from ruggedize.report.joining import comparisons_of, other_images, same_images, same_images_or_draws
from ruggedize.report.record import RunRecord
from ruggedize.report.seeds import t_interval


def partners(group: list[RunRecord], base: list[RunRecord]) -> list[tuple[RunRecord, RunRecord]]:
    """Pair the runs of two groups by seed, or their only runs; empty if a run has no partner."""
    if group is base:
        return [(record, record) for record in group]
    if len(group) == len(base) == 1:
        return [(group[0], base[0])]
    seeds = {record.seed: record for record in base if record.seed is not None}
    pairs = [(record, seeds[record.seed]) for record in group if record.seed in seeds]
    return pairs if len(pairs) == len(group) > 1 else []


def reason_apart(group: list[RunRecord], base: list[RunRecord]) -> str:
    """Return why a group of runs cannot be compared with another; empty if it can."""
    pairs = partners(group, base)
    if not pairs:
        if 1 in (len(group), len(base)):
            return "a single run is not compared with a mean over seeds"
        return "its seeds are not those of the baseline"
    found = (other_images(base, record, any_seed=len(pairs) > 1) for record, base in pairs)
    what = next(filter(None, found), "")
    return f"it was assessed on {what}" if what else ""


def differences_of(
    pairs: list[tuple[RunRecord, RunRecord]], model: str, baseline: str, summaries: list[str]
) -> dict[str, Interval]:
    """Compare a model with the baseline: a paired bootstrap for one pair, else over the seeds."""
    pairs = [(record, base) for record, base in pairs if same_images_or_draws(record, base)]
    if len(pairs) == 1:
        ((record, base),) = pairs
        predictions = {"model": record.predictions[model], "baseline": base.predictions[baseline]}
        if not same_images(record, base):
            return {}
        found = comparisons_of(base.assessment, "baseline", "model", predictions)
        return {each.summary: Interval(each.difference, each.low, each.high) for each in found}
    result = {}
    for summary in summaries:
        values = [
            (after, before)
            for record, base in pairs
            if (after := record.assessment.models[model].summary.get(summary)) is not None
            and (before := base.assessment.models[baseline].summary.get(summary)) is not None
        ]
        if len(values) == len(pairs) > 1:
            result[summary] = t_interval([after - before for after, before in values])
    return result
