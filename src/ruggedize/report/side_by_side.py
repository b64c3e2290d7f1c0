"""One row per model of every run; runs that differ only in the seed share it. Imports no torch."""

import itertools
import re
from typing import NamedTuple

import numpy as np

from ruggedize.assess import CLEAN, Interval, summary_cells
from ruggedize.core.errors import UserError
from ruggedize.report.compare import summary_rows
from ruggedize.report.corruption_error import CorruptionError, Normaliser, corruption_error
from ruggedize.report.joining import find_model
from ruggedize.report.pairing import differences_of, partners, reason_apart
from ruggedize.report.record import RunRecord
from ruggedize.report.seeds import LONGEST_SHOWN, groups_of, settings

MOST_OPTIONS = 40
PROVENANCE = ("digest of", "version of")  # changes with every change of the software


class Spread(NamedTuple):
    """A mean over seeds and its standard deviation; None for a single run."""

    mean: float
    deviation: float | None


class Group(NamedTuple):
    """Runs that differ only in the seed, or a single run."""

    name: str
    records: list[RunRecord]
    options: dict[str, str]  # those that differ between the groups of the report


class Row(NamedTuple):
    """One model of a run, or of several runs that differ only in the seed."""

    run: str
    seeds: list[int]
    model: str
    options: dict[str, str]  # what differs between the runs of the report
    values: list[Spread | None]  # by column; None: not assessed
    differences: list[Interval | None]  # by column; None: the baseline, or not paired with it
    over_seeds: bool  # the differences are t-intervals over seeds, else bootstrap over images
    errors: CorruptionError | None  # means over the seeds; None without mCE
    single: RunRecord | None  # the run; None for several


class Column(NamedTuple):
    """A summary of the table, over certain cells."""

    summary: str
    title: str
    cells: frozenset[tuple[str, int]]


class Standings(NamedTuple):
    """All rows, their columns, and what the differences refer to."""

    columns: list[Column]
    rows: list[Row]
    baseline: tuple[str, str]  # run, model
    hidden: list[str]  # options that differ and whose values are too long for the table
    not_compared: dict[str, str]  # by run: why it has no differences

    @property
    def titles(self) -> list[str]:
        """Return the titles of the columns."""
        return [column.title for column in self.columns]

    @property
    def sentences_on_missing(self) -> list[str]:
        """Return one sentence for each run without differences, with the reason."""
        return [
            f"{run} has no differences, because {why}." for run, why in self.not_compared.items()
        ]


def standings(
    records: list[RunRecord], baseline: str | None, normaliser: Normaliser | None
) -> Standings:
    """Compute the table of all models.

    Differences refer to the baseline: by default the first model of the first run.
    """
    record, model = (
        (records[0], next(iter(records[0].assessment.models)))
        if baseline is None
        else find_model(records, baseline, "--baseline")
    )
    found = groups_of(records)
    options, hidden = differing(found)
    groups = [
        Group(name, each, mine)
        for name, each, mine in zip(labels(found), found, options, strict=True)
    ]
    base = next(group for group in groups if any(each is record for each in group.records))
    columns = columns_of(found)
    rows = [
        row_of(group, name, (base, model), columns, normaliser)
        for group in groups
        for name in group.records[0].assessment.models
    ]
    reasons = {group.name: reason_apart(group.records, base.records) for group in groups}
    apart = {name: why for name, why in reasons.items() if why}
    return Standings(columns, rows, (base.name, model), hidden, apart)


def columns_of(groups: list[list[RunRecord]]) -> list[Column]:
    """List the summaries that any run has; equal ones over different cells are separate columns."""
    found = {}
    for group in groups:
        for row in summary_rows(group[0].assessment):
            if not row.coverage:
                column = Column(row.name, row.title, cells_of(group[0], row.name))
                found.setdefault(column, column)
    return list(found)


def cells_of(record: RunRecord, summary: str) -> frozenset[tuple[str, int]]:
    """Return the cells that a summary is the mean of in a record; none for clean."""
    if summary == CLEAN:
        return frozenset()
    return summary_cells(summary, next(iter(record.predictions.values())).cells)


def row_of(
    group: Group,
    name: str,
    base: tuple[Group, str],
    columns: list[Column],
    normaliser: Normaliser | None,
) -> Row:
    """Compute one model's row."""
    records = group.records
    values = []
    for column in columns:
        found = [record.assessment.models[name].summary.get(column.summary) for record in records]
        shown = [value for value in found if value is not None]
        is_whole = cells_of(records[0], column.summary) == column.cells
        values.append(spread(shown) if is_whole and len(shown) == len(records) else None)
    pairs = partners(records, base[0].records)
    is_baseline = group is base[0] and name == base[1]
    summaries = [column.summary for column in columns]
    differences = {} if is_baseline else differences_of(pairs, name, base[1], summaries)
    return Row(
        group.name,
        [record.seed for record in records if record.seed is not None],
        name,
        group.options,
        values,
        [
            None if value is None else differences.get(summary)
            for summary, value in zip(summaries, values, strict=True)
        ],
        len(pairs) > 1,
        errors_of(group, name, normaliser),
        records[0] if len(records) == 1 else None,
    )


def spread(values: list[float]) -> Spread:
    """Return the mean and standard deviation over seeds."""
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Spread(float(np.mean(values)), deviation)


def errors_of(group: Group, name: str, normaliser: Normaliser | None) -> CorruptionError | None:
    """Return a model's mean corruption errors, averaged over the seeds.

    Raises:
        UserError: it was not assessed on the images and cells of the normalising model.
    """
    if normaliser is None:
        return None
    if not all(normaliser.fits(record) for record in group.records):
        if not normaliser.is_required:
            return None
        raise UserError(
            f"{group.name} was not assessed on the images, suite and cells of {normaliser.name};\n"
            "write separate reports, or assess both on the same ones"
        )
    found = [
        corruption_error(record.assessment.models[name], normaliser.model)
        for record in group.records
    ]
    means = [
        None if None in values else float(np.mean([v for v in values if v is not None]))
        for values in ([each.mean for each in found], [each.relative for each in found])
    ]
    return CorruptionError(*means)


def labels(groups: list[list[RunRecord]]) -> list[str]:
    """Return a name for each group; repeated names are numbered."""
    names = [label(group) for group in groups]
    counts = [names[: place + 1].count(name) for place, name in enumerate(names)]
    return [
        f"{name} ({count})" if count > 1 else name
        for name, count in zip(names, counts, strict=True)
    ]


def label(group: list[RunRecord]) -> str:
    """Return a group's name: what the names of its runs have in common."""
    if len(group) == 1:
        return group[0].name
    letters = zip(*(record.name for record in group), strict=False)
    same = itertools.takewhile(lambda found: len(set(found)) == 1, letters)
    shared = "".join(letter for letter, *_ in same)
    return re.sub(r"[-_. ]*(seed)?[-_. ]*$", "", shared) or group[0].name


def differing(groups: list[list[RunRecord]]) -> tuple[list[dict[str, str]], list[str]]:
    """Return, by group, the options that differ between the runs with a recipe, with their values.

    Versions, options with long values, and those after the first forty are only listed by name.
    """
    everything = [settings(group[0]) if group[0].recipe else None for group in groups]
    recipes = [found for found in everything if found is not None]
    shown: list[dict[str, str]] = [{} for _ in groups]
    hidden = []
    num_shown = 0
    for name in dict.fromkeys(name for found in recipes for name in found):
        values = [found.get(name) for found in recipes]
        if all(value == values[0] for value in values):
            continue
        is_short = all(len(str(value)) <= LONGEST_SHOWN for value in values)
        if name.startswith(PROVENANCE) or not is_short or num_shown == MOST_OPTIONS:
            hidden.append(name)
            continue
        num_shown += 1
        for mine, found in zip(shown, everything, strict=True):
            if found is not None:
                mine[name] = "none" if found.get(name) is None else str(found[name])
    return shown, hidden
