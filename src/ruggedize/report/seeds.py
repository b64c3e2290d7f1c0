"""Compare runs over seeds, as a claim about a method requires. Imports no torch."""

import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ruggedize.assess import Interval
from ruggedize.core.tables import flat
from ruggedize.report.compare import summary_rows
from ruggedize.report.record import RunRecord

NOT_COMPARED = (
    "seed",
    "data.root",
    "data.streaming",
    "data.workers",
    "track",
)  # where and how data is read, not which
DATA_PLACES = ("data.name", "data.unlabelled")
IN_TRAINING = ("precision", "device", "processes", "microbatches")  # of `delivered.json`
IMAGES = ("training", "validation")  # of the facts of a training in `delivered.json`
MOST_NAMED = 8
LONGEST_SHOWN = 40  # characters of a value


class SeedRow(NamedTuple):
    """One summary over runs that differ only in the seed: paired differences, t-interval."""

    title: str
    differences: list[float]
    interval: Interval


class OverSeeds(NamedTuple):
    """A comparison over seeds, or the reasons why it is impossible."""

    rows: list[SeedRow]
    obstacles: list[str]
    has_own_draws: bool = False  # the corruptions of each run are drawn with its own seed


def over_seeds(records: list[RunRecord]) -> OverSeeds:
    """Compare last and first model over runs that differ only in the seed."""
    if len(records) < 2:
        return OverSeeds([], [])
    if found := obstacles(records):
        return OverSeeds([], found)
    last = list(records[0].assessment.models)[-1]
    rows = []
    for row in summary_rows(records[0].assessment):
        differences = [
            comparison.difference
            for record in records
            for comparison in record.assessment.comparisons
            if (comparison.summary, comparison.model) == (row.name, last)
        ]
        if differences:  # none where the summary is incomplete
            rows.append(SeedRow(row.title, differences, t_interval(differences)))
    draws = {record.assessment.suite_facts.get("seed") for record in records}
    return OverSeeds(rows, [], len(draws) > 1)


def obstacles(records: list[RunRecord]) -> list[str]:
    """List the reasons, in sentences, why these runs cannot be compared over seeds."""
    found = [
        f"{record.name} has only one model, so there are no differences between models."
        for record in records
        if len(record.assessment.models) < 2
    ]
    found += [
        f"The seed of {record.name} is unknown: it has no recipe.toml."
        for record in records
        if record.seed is None
    ]
    found += repetitions(records)
    if names := differences(records):
        more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        listed = ", ".join(names[:MOST_NAMED])
        found.append(f"These runs differ in more than their seed: {listed}{more}.")
    return list(dict.fromkeys(found))


def groups_of(records: list[RunRecord]) -> list[list[RunRecord]]:
    """Group the runs that differ only in the seed."""
    groups: list[list[RunRecord]] = []
    known = {id(record): settings(record) for record in records if record.seed is not None}
    for record in records:
        for group in groups:
            both = id(record) in known and id(group[0]) in known
            is_equal = both and known[id(record)] == known[id(group[0])]
            if is_equal and not list(repetitions([*group, record])):
                group.append(record)
                break
        else:
            groups.append([record])
    return groups


def repetitions(records: list[RunRecord]) -> Iterator[str]:
    """Yield a sentence for each run that repeats the seed or the models of an earlier one."""
    for place, record in enumerate(records):
        for earlier in records[:place]:
            if sentence := repetition(earlier, record):
                yield sentence
                break


def repetition(first: RunRecord, second: RunRecord) -> str:
    """Return why two runs do not count as two seeds; empty if they do."""
    both = f"{first.name} and {second.name}"
    if first.assessment == second.assessment:
        return f"{both} are the same run."
    ours, theirs = (record.assessment.facts.models for record in (first, second))
    if shared := [name for name, sha256 in ours.items() if theirs.get(name) == sha256]:
        return f"{both} contain the same {' and '.join(shared)}."
    if first.seed is not None and first.seed == second.seed:
        return f"{both} have the same seed, {first.seed}."
    return ""


def differences(records: list[RunRecord]) -> list[str]:
    """List what differs between runs besides the seed, with its values if they are short."""
    everything = [settings(record) for record in records]
    names = []
    for name in dict.fromkeys(name for found in everything for name in found):
        values = [found.get(name) for found in everything]
        if any(value != values[0] for value in values):
            texts = list(dict.fromkeys("none" if v is None else str(v) for v in values))
            is_short = all(len(text) <= LONGEST_SHOWN for text in texts)
            names.append(f"{name} ({', '.join(texts)})" if is_short else name)
    return names


def settings(record: RunRecord) -> dict[str, Any]:
    """Return by name everything besides the seed that determines a run's accuracies."""
    found = recipe_settings(record)
    found["digest of the source"] = record.environment.get("source")
    for package, version in record.environment.get("packages", {}).items():
        found[f"version of {package}"] = version
    for name, delivered in record.delivered.items():
        found |= {f"{name}: {key} in training": delivered.get(key) for key in IN_TRAINING}
        found |= trained_on(name, delivered.get("training", {}))
    return found | assessed(record)


def recipe_settings(record: RunRecord) -> dict[str, Any]:
    """Return the options of a run's recipe by name, without the places of its data.

    A folder of images is identified by its digest, if one is recorded. Of a suite's path, only the
    last part is compared.
    """
    found = {name: value for name, value in flat(record.recipe).items() if name not in NOT_COMPARED}
    identified = DATA_PLACES if record.assessment.facts.data else ()
    for name in (*identified, "assess.suite"):
        if os.path.isabs(path := str(found.get(name, ""))):
            found[name] = "a folder" if name in DATA_PLACES else os.path.basename(path)
    return found


def trained_on(name: str, training: dict[str, Any]) -> dict[str, Any]:
    """Return by name the images that a model was trained on, wherever they are stored."""
    images, data = training.get("images", {}), training.get("data") or {}
    return {
        **{f"{name}: number of {part} images": images.get(part) for part in IMAGES},
        **{
            f"{name}: digest of the {part} data": found
            for part, found in data.get("parts", {}).items()
        },
    }


def assessed(record: RunRecord) -> dict[str, Any]:
    """Return by name how a run was assessed, and on which images."""
    assessment = record.assessment
    images, unpaired = assessment.images, assessment.unpaired
    first = next(iter(record.predictions.values()))
    return {
        "models": list(assessment.models),
        "version of ruggedize in the assessment": assessment.ruggedize,
        **{f"{name}: precision in the assessment": p for name, p in assessment.precision.items()},
        "suite": assessment.suite,
        **{f"suite: {name}": v for name, v in assessment.suite_facts.items() if name != "seed"},
        "suite: paired with the test images": unpaired is None,
        "suite: number of images": unpaired and unpaired.num_images,
        **data_of_assessment(record),
        "number of test images": images.num_images,
        "number of test images available": images.available,
        "classes": images.classes,
        "which test images": first.index.tolist(),
        "labels of the test images": first.labels.tolist(),
        "corruptions and severities": list(first.cells),
    }


def data_of_assessment(record: RunRecord) -> dict[str, Any]:
    """Return by name what identifies a run's data, wherever it is stored."""
    data = record.assessment.facts.data
    return {
        f"{part} data: {what}": value
        for part, found in (data.parts.items() if data else ())
        for what, value in (
            ("number of images", found.images),
            ("labels", found.labels),
            ("files or pixels", found.content),
        )
    }


def t_interval(differences: list[float], level: float = 0.95) -> Interval:
    """Return the mean of paired differences and its t-interval (95 % by default)."""
    from scipy.special import stdtrit

    n = len(differences)
    mean, error = float(np.mean(differences)), float(np.std(differences, ddof=1)) / n**0.5
    reach = float(stdtrit(n - 1, (1 + level) / 2)) * error
    return Interval(mean, mean - reach, mean + reach)
