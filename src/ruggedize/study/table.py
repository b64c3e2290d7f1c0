"""The arms of a study side by side: means over seeds and paired differences."""

from collections.abc import Callable, Sequence
from statistics import median
from typing import NamedTuple

from ruggedize.assess import Interval
from ruggedize.report import Spread, spread, t_interval
from ruggedize.study.summary import RunSummary


def mean_over_corruptions(run: RunSummary) -> float | None:
    """Return the mean accuracy over the corruptions of a run; None if it has none."""
    values = run.result.corruptions.values()
    return sum(values) / len(values) if values else None


COLUMNS: dict[str, tuple[str, Callable[[RunSummary], float | None]]] = {
    "extras": ("validation, extras", lambda run: run.validation.extras),
    "clean": ("clean", lambda run: run.result.clean),
    "severity5_top1": ("severity 5", lambda run: run.result.severity5_top1),
    "c15": ("C15", lambda run: run.result.c15),
    "c19": ("C19", lambda run: run.result.c19),
    "chosen": ("mean of the chosen corruptions", mean_over_corruptions),
}
"""Titles and values of the columns: the first is on validation images, the others on test."""


class PairedDifference(NamedTuple):
    """Mean of an arm minus that of the baseline, over the seeds that both have."""

    mean: float
    interval: Interval | None  # 95 % t-interval; None for a single pair
    num_pairs: int


class ArmRow(NamedTuple):
    """The finished runs of an arm; None: not assessed, or no seeds to pair."""

    arm: str
    runs: list[RunSummary]
    values: dict[str, Spread | None]
    differences: dict[str, PairedDifference | None]
    pflop: Spread


def arm_rows(summaries: Sequence[RunSummary], baseline: str, order: Sequence[str]) -> list[ArmRow]:
    """Compute the rows of all arms with finished runs.

    Arms that are no longer in `order` come last: whatever was assessed is shown.
    """
    arms = dict.fromkeys([*order, *(summary.arm for summary in summaries)])
    groups = {arm: [each for each in summaries if each.arm == arm] for arm in arms}
    base = groups.get(baseline, [])
    return [arm_row(arm, group, base) for arm, group in groups.items() if group]


def columns_of(rows: Sequence[ArmRow]) -> list[str]:
    """Return the columns that have values.

    The mean of the chosen corruptions is only shown if no run has a mean of the benchmark and all
    runs have the same corruptions and severities.
    """
    found = [name for name in COLUMNS if any(row.values[name] for row in rows)]
    runs = [run for row in rows for run in row.runs]
    cells = {(*run.result.corruptions, *run.recipe["assess"]["severities"]) for run in runs}
    is_benchmark = not {"severity5_top1", "c15", "c19"}.isdisjoint(found)
    is_hidden = is_benchmark or len(cells) > 1
    return [name for name in found if name != "chosen" or not is_hidden]


def arm_row(arm: str, group: list[RunSummary], base: list[RunSummary]) -> ArmRow:
    """Compute the row of one arm."""
    values, differences = {}, {}
    for column, (_, value) in COLUMNS.items():
        found = [each for run in group if (each := value(run)) is not None]
        values[column] = spread(found) if len(found) == len(group) else None
        is_base = bool(base) and base[0].arm == arm
        differences[column] = None if is_base else paired_difference(group, base, value)
    return ArmRow(
        arm,
        group,
        values,
        differences,
        spread([run.pflop for run in group]),
    )


def paired_difference(
    group: list[RunSummary], base: list[RunSummary], value: Callable[[RunSummary], float | None]
) -> PairedDifference | None:
    """Return the mean difference over the seeds that both have; None if there are none.

    Runs on other test images, or on another number of validation images, are not paired.
    """
    partners = {run.seed: run for run in base}
    pairs = [(run, partners[run.seed]) for run in group if run.seed in partners]
    differences = [
        after - before
        for run, other in pairs
        if same_images(run, other)
        and (after := value(run)) is not None
        and (before := value(other)) is not None
    ]
    if not differences:
        return None
    interval = t_interval(differences) if len(differences) > 1 else None
    return PairedDifference(sum(differences) / len(differences), interval, len(differences))


def same_images(run: RunSummary, other: RunSummary) -> bool:
    """Return whether two runs have the same test images and as many validation images."""
    same_numbers = all(run.images[name] == other.images[name] for name in ("test", "validation"))
    return same_numbers and run.data.get("test") == other.data.get("test")


def best_on_validation(rows: Sequence[ArmRow]) -> str | None:
    """Return the arm with the highest accuracy on validation under the extra corruptions.

    Its mean is over the seeds that all arms have; without such seeds, there is no best arm.
    """
    extras = {row.arm: {run.seed: run.validation.extras for run in row.runs} for row in rows}
    common = set.intersection(*map(set, extras.values())) if extras else set()
    sums = {arm: sum(found[seed] for seed in common) for arm, found in extras.items()}
    return max(sums, key=sums.__getitem__) if common else None


def spread_text(value: Spread | None) -> str:
    """Return a mean and its deviation in percent, or a dash."""
    if value is None:
        return "-"
    deviation = "" if value.deviation is None else f" ± {100 * value.deviation:.2f}"
    return f"{100 * value.mean:.2f}{deviation}"


def seconds_text(runs: Sequence[RunSummary]) -> str:
    """Return the median and, in brackets, the range of the seconds; machines may differ a lot."""
    seconds = [run.seconds for run in runs]
    spread_of = "" if len(runs) == 1 else f" ({min(seconds):,.0f}-{max(seconds):,.0f})"
    return f"{median(seconds):,.0f}{spread_of}"


def difference_text(found: PairedDifference | None, num_seeds: int) -> str:
    """Return a difference in percentage points, with its interval; empty if there is none.

    The number of pairs is added where it is not the number of the arm's seeds.
    """
    if found is None:
        return ""
    text = f"{100 * found.mean:+.2f}"
    if found.interval is not None:
        _, low, high = (100 * value for value in found.interval)
        text += f" [{low:+.2f}, {high:+.2f}]"
    is_complete = found.num_pairs == num_seeds
    return text if is_complete else f"{text}, {found.num_pairs} of {num_seeds} seeds"
