"""Join assessments of the same images into one record, and set its baseline. Imports no torch."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ruggedize.assess import (
    CLEAN,
    Assessment,
    AssessmentFacts,
    Comparison,
    Predictions,
    compare,
)
from ruggedize.core.errors import UserError
from ruggedize.report.record import RunRecord
from ruggedize.report.seeds import groups_of


def prepared(records: Sequence[RunRecord], baseline: str | None) -> list[RunRecord]:
    """Join assessments of the same images, then put the baseline first in its records.

    If it is the model of one run, the runs that differ only in the seed are changed as well.

    Raises:
        UserError: no model has the baseline's name.
    """
    joined = with_own_names(join_all(records))
    if baseline is None:
        return joined
    chosen, model = find_model(joined, baseline, "--baseline")
    is_run = baseline not in chosen.assessment.models
    groups = groups_of(joined) if is_run else [joined]
    changed = next(ids for group in groups if id(chosen) in (ids := {id(each) for each in group}))
    return [with_baseline(record, model) if id(record) in changed else record for record in joined]


def with_own_names(records: list[RunRecord]) -> list[RunRecord]:
    """Number records that have the same name: "run" and "run (2)"."""
    names = [record.name for record in records]
    counts = [names[: place + 1].count(name) for place, name in enumerate(names)]
    return [
        replace(record, name=f"{record.name} ({count})") if count > 1 else record
        for record, count in zip(records, counts, strict=True)
    ]


def find_model(records: Sequence[RunRecord], name: str, option: str) -> tuple[RunRecord, str]:
    """Return the first record and model of this name.

    `name` is MODEL, RUN/MODEL, or the name of a run or an assessment that has one model.

    Raises:
        UserError: there is none.
    """
    for record in records:
        for model in record.assessment.models:
            alone = len(record.assessment.models) == 1
            if name in (model, f"{record.name}/{model}") or (alone and name == record.name):
                return record, model
    for record in records:
        if name in record.joined:
            return record, record.joined[name]
    known = {model: None for record in records for model in record.assessment.models}
    for record in records:
        known |= dict.fromkeys(record.joined)
        if len(records) > 1:
            known |= {f"{record.name}/{model}": None for model in record.assessment.models}
    raise UserError(
        f"there is no model {name} in this report, only {', '.join(known)};\n"
        f"set {option} to one of these"
    )


def join_all(records: Sequence[RunRecord]) -> list[RunRecord]:
    """Join assessments without a run folder that were made on the same images."""
    groups: list[list[RunRecord]] = []
    for record in records:
        fits = (group for group in groups if can_join(group, record))
        group = next(fits, None)
        if group is None:
            groups.append([record])
        else:
            group.append(record)
    return [join(group) for group in groups]


def can_join(group: list[RunRecord], record: RunRecord) -> bool:
    """Return whether a record can become part of a group: no run folder, the same images."""
    is_repeated = any(record.assessment.models == other.assessment.models for other in group)
    stands_alone = not record.recipe and not group[0].recipe
    return stands_alone and not is_repeated and same_images(group[0], record)


def same_images(first: RunRecord, second: RunRecord) -> bool:
    """Return whether two records were assessed on the same images, corrupted alike."""
    return not other_images(first, second)


def same_images_or_draws(first: RunRecord, second: RunRecord) -> bool:
    """Return whether two records were assessed on the same images, corrupted with any seeds."""
    return not other_images(first, second, any_seed=True)


def other_images(first: RunRecord, second: RunRecord, *, any_seed: bool = False) -> str:
    """Return what the second record was assessed on unlike the first; empty if on the same.

    With `any_seed`, the corruptions may be drawn with other seeds.
    """
    ours, theirs = first.assessment, second.assessment
    if ours.suite != theirs.suite:
        return "another suite"
    one, other = ours.suite_facts, theirs.suite_facts
    keys = [key for key in {**one, **other} if one.get(key) != other.get(key)]
    if keys := [key for key in keys if key != "seed" or not any_seed]:
        return f"corruptions that differ in {', '.join(keys)}"
    if ours.unpaired != theirs.unpaired:
        return "other images of the suite"
    if ours.images.classes != theirs.images.classes:
        return "other classes"
    if not same_data(ours, theirs):
        return "other test images"
    one, other = (next(iter(record.predictions.values())) for record in (first, second))
    if one.cells.keys() != other.cells.keys():
        return "other corruptions or severities"
    pairs = zip(rows_of(one), rows_of(other), strict=True)
    return "" if all(np.array_equal(a, b) for a, b in pairs) else "other test images"


def same_data(ours: Assessment, theirs: Assessment) -> bool:
    """Return whether the test data is the same; if a digest is unknown, assume that it is."""
    one, other = ours.facts.data, theirs.facts.data
    return one is None or other is None or one.same_test_images(other)


def rows_of(predictions: Predictions) -> list[np.ndarray]:
    """Return what identifies the images of predictions: indices and labels."""
    clean = predictions.clean_rows
    own = [] if clean is None else [clean.indices, clean.labels]
    empty = [np.empty(0)] * (2 - len(own))
    return [predictions.index, predictions.labels, *own, *empty]


def join(group: list[RunRecord]) -> RunRecord:
    """Join records of the same images; the first model is the baseline."""
    if len(group) == 1:
        return group[0]
    names = [(record, model) for record in group for model in record.assessment.models]
    short = [model for _, model in names]
    new = [
        model if short.count(model) == 1 else f"{record.name}-{model}" for record, model in names
    ]
    while len(set(new)) < len(new):
        new = [f"{name}-{place}" if name in new[:place] else name for place, name in enumerate(new)]
    first = group[0]
    olds = dict(zip(new, names, strict=True))
    found = {name: (record.assessment, model) for name, (record, model) in olds.items()}
    changed = {
        "models": {name: each.models[model] for name, (each, model) in found.items()},
        "precision": {
            name: each.precision.get(model, "unknown") for name, (each, model) in found.items()
        },
        "inputs": {
            name: each.inputs[model]
            for name, (each, model) in found.items()
            if model in each.inputs
        },
        "facts": joined_facts(group, found),
    }
    assessment = first.assessment.model_copy(update=changed)
    record = replace(
        first,
        name=" + ".join(dict.fromkeys(record.name for record in group)),
        assessment=assessment,
        predictions={name: record.predictions[model] for name, (record, model) in olds.items()},
        metrics={name: [] for name in new},
        delivered={name: {} for name in new},
        examples=(),
        joined=names_before(olds),
    )
    return compared_again(record)


def names_before(olds: dict[str, tuple[RunRecord, str]]) -> dict[str, str]:
    """Return each model's new name, by the names that meant only this model before joining."""
    found: dict[str, set[str]] = {}
    for new, (record, model) in olds.items():
        found.setdefault(f"{record.name}/{model}", set()).add(new)
        found.setdefault(record.name, set()).add(new)
    return {name: new.pop() for name, new in found.items() if len(new) == 1}


def joined_facts(
    group: list[RunRecord], found: dict[str, tuple[Assessment, str]]
) -> AssessmentFacts:
    """Join the facts of assessments; `found` has an assessment and a name in it by new name."""
    facts = {name: (each.facts, model) for name, (each, model) in found.items()}
    everyone = [record.assessment.facts for record in group]
    first = everyone[0]
    return AssessmentFacts(
        overlaps=first.overlaps if all(f.overlaps == first.overlaps for f in everyone) else None,
        left_out=tuple(dict.fromkeys(file for each in everyone for file in each.left_out)),
        models={
            n: each.models[model] for n, (each, model) in facts.items() if model in each.models
        },
        sources={
            n: each.sources[model] for n, (each, model) in facts.items() if model in each.sources
        },
        held_out=tuple(n for n, (each, model) in facts.items() if model in each.held_out),
        data=first.data,
        examples=(),
    )


def with_baseline(record: RunRecord, name: str) -> RunRecord:
    """Move a model to the front as the baseline; a record without it is unchanged."""
    models = record.assessment.models
    if name not in models or name == next(iter(models)):
        return record
    order = [name, *(other for other in models if other != name)]
    assessment = record.assessment.model_copy(update={"models": {n: models[n] for n in order}})
    return compared_again(
        replace(
            record,
            assessment=assessment,
            predictions={n: record.predictions[n] for n in order},
            metrics={n: record.metrics[n] for n in order},
            delivered={n: record.delivered[n] for n in order},
        )
    )


def compared_again(record: RunRecord) -> RunRecord:
    """Compare every other model with the first again."""
    baseline, *others = record.assessment.models
    comparisons = tuple(
        found
        for other in others
        for found in comparisons_of(record.assessment, baseline, other, record.predictions)
    )
    return replace(
        record, assessment=record.assessment.model_copy(update={"comparisons": comparisons})
    )


def comparisons_of(
    assessment: Assessment, baseline: str, model: str, predictions: dict[str, Predictions]
) -> list[Comparison]:
    """Compare two models in each summary that has a value.

    With an unpaired suite, clean and corrupted images are different images, so they are resampled
    separately.
    """
    first = next(iter(assessment.models.values()))
    names = [name for name, value in first.summary.items() if value is not None]
    groups = [names]
    if predictions[baseline].clean_rows is not None:
        groups = [[CLEAN], [name for name in names if name != CLEAN]]
    return [
        found for group in groups if group for found in compare(baseline, model, predictions, group)
    ]
