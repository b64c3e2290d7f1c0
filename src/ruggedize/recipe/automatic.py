"""Resolution of options that are "auto": sizes by the number of images, and the network.

It precedes validation, so that a run, its recorded recipe and a resumed run have the same values.
"""

import logging
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ruggedize.core.errors import UserError, shown
from ruggedize.core.reading import read_bytes
from ruggedize.data import DataOptions, SetSize, count_images
from ruggedize.recipe.outlook import Counts, training_passes
from ruggedize.recipe.recipe import Recipe
from ruggedize.recipe.sizing import CANDIDATES, UNKNOWN_IMAGES, Sizes, note_on_few, sizes_for
from ruggedize.train import STEP_PASSES, TrainingOptions, Workload

AUTO = "auto"
HOURS = "training_hours"  # key at the top level: the budget for the choice of the network
SIZED = ("data.image_size", "data.validation", "views.crop")
SIZED_IN_STAGES = ("batch_size", "epochs")
ANY_NUMBER = 1 << 31  # of unlabelled images, which are not counted: as many as a step uses
Table = dict[str, Any]
ModelChoice = Callable[[Workload], str]

log = logging.getLogger(__name__)


def resolve_automatic(
    table: Table,
    check: Callable[[Table], Recipe],
    choose: ModelChoice | None = None,
    recorded: Path | None = None,
) -> Table:
    """Return the table of a recipe with numbers and names in place of "auto".

    Args:
        table: the merged table, before its stages are spelled out.
        check: called with a trial table before `choose`; returns its recipe, or raises UserError
            for a mistake.
        choose: called with the planned trainings; returns the name of one of the candidates. By
            default, the first one is taken.
        recorded: `recipe.toml` of a run to resume, whose values are kept.

    Raises:
        UserError: the budget is not a positive number, the data has no classes, or a network is
            "auto" although its pretrained weights are a file.
    """
    hours = table.get(HOURS, 1.0)
    if isinstance(hours, bool) or not isinstance(hours, int | float) or not hours > 0:
        raise UserError(
            f"{HOURS} must be a positive number, got {hours!r};\nset {HOURS} = 1.0, or omit it"
        )
    rest = {key: value for key, value in table.items() if key != HOURS}
    if recorded and automatic_paths(rest):
        found = recorded_values(recorded)
        rest = filled(rest, {path: value_at(found, path) for path in automatic_paths(rest)})
    open_paths = automatic_paths(rest)
    if not open_paths:
        return rest
    size = size_of(rest)
    num_images = size.num_images if size else UNKNOWN_IMAGES
    chosen = filled(rest, chosen_sizes(rest, open_paths, sizes_for(num_images)))
    networks = {path: None for path in open_paths if path.endswith(".model.name")}
    if networks:
        reject_weights_of_one_network(chosen, networks)
        trial = with_network(chosen, networks, CANDIDATES[0])
        recipe = check(trial)
        if choose and value_at(chosen, "teacher.model.name") == AUTO:
            trial = with_network(chosen, networks, choose(workload_of(recipe, size, float(hours))))
        chosen = trial
    if size:
        announce(chosen, [path for path in open_paths if choose or path not in networks], size)
    return chosen


def automatic_paths(table: Table) -> list[str]:
    """Return the dotted names of the options that are "auto" and are resolved here."""
    stages = stage_names(table)
    named = [f"{stage}.{key}" for stage in stages for key in SIZED_IN_STAGES]
    models = [f"{stage}.model.name" for stage in stages]
    return [path for path in (*SIZED, *named, *models) if value_at(table, path) == AUTO]


def stage_names(table: Table) -> list[str]:
    """Return the dotted names of all tables of stages."""
    stages = table.get("stages")
    further = [f"stages.{name}" for name in stages] if isinstance(stages, dict) else []
    return ["teacher", "student", *further]


def value_at(table: Any, path: str) -> Any:
    """Return the value at a dotted name, or None; a model's plain name is its `name`."""
    for key in path.split("."):
        if key == "name" and isinstance(table, str):
            return table
        table = table.get(key) if isinstance(table, dict) else None
    return table


def filled(table: Table, values: dict[str, Any]) -> Table:
    """Return the table with new values at dotted names; None leaves a value as it is."""
    for path, value in values.items():
        if value is not None:
            table = with_value_at(table, path.split("."), value)
    return table


def with_value_at(table: Any, keys: list[str], value: Any) -> Any:
    """Return a copy of a table with another value at the path of keys."""
    if not keys or not isinstance(table, dict):
        return value
    head, *rest = keys
    return {**table, head: with_value_at(table[head], rest, value)}


def recorded_values(recorded: Path) -> Table:
    """Return the table of a run's recipe, with timm's networks by one name; empty if there is none.

    A damaged file is reported where the run compares it with its recipe.
    """
    if not recorded.is_file():
        return {}
    try:
        table = tomllib.loads(read_bytes(recorded).decode())
    except ValueError:
        return {}
    for stage in stage_names(table):
        architecture = value_at(table, f"{stage}.model.architecture")
        if architecture:
            table = filled(table, {f"{stage}.model.name": f"timm/{architecture}"})
    return table


def size_of(table: Table) -> SetSize | None:
    """Return the size of the recipe's data, or None if it cannot be counted yet."""
    data = table.get("data")
    given = data if isinstance(data, dict) else {}
    known = {key: given[key] for key in ("name", "root") if key in given}
    try:
        options = DataOptions.model_validate(known)
    except ValidationError:  # reported with the whole recipe
        return None
    size = count_images(options)
    if size is None and options.name.startswith("hf:"):
        log.warning(
            "the images of %s are not counted before they are loaded: sizes are those for %d",
            *(shown(options.name), UNKNOWN_IMAGES),
        )
    return size


def chosen_sizes(table: Table, paths: list[str], sizes: Sizes) -> dict[str, Any]:
    """Return a value for every open option except networks; views and images get one size."""
    crop, stored = value_at(table, "views.crop"), value_at(table, "data.image_size")
    side = next((each for each in (crop, stored) if isinstance(each, int)), sizes.image_size)
    values = {"data.image_size": side, "views.crop": side, "data.validation": sizes.validation}
    for stage in stage_names(table):
        epochs = sizes.teacher_epochs if stage == "teacher" else sizes.student_epochs
        values |= {f"{stage}.batch_size": sizes.batch_size, f"{stage}.epochs": epochs}
    return {path: values[path] for path in paths if path in values}


def reject_weights_of_one_network(table: Table, paths: Iterable[str]) -> None:
    """Raise UserError if a network is "auto" although its pretrained weights are a file."""
    for path in paths:
        if isinstance(value_at(table, path.replace(".name", ".pretrained")), str):
            stage = path.removesuffix(".model.name")
            raise UserError(
                f'{path} must not be "auto" with {stage}.model.pretrained = FILE, which holds the '
                f"weights of one network;\nset {path}=timm/NAME"
            )


def with_network(table: Table, paths: Iterable[str], candidate: str) -> Table:
    """Return the table with one network in place of "auto": the teacher's, in all stages."""
    name = value_at(table, "teacher.model.name")
    return filled(table, dict.fromkeys(paths, f"timm/{candidate}" if name == AUTO else name))


def workload_of(recipe: Recipe, size: SetSize | None, hours: float) -> Workload:
    """Return the trainings of a recipe, for which a network is chosen."""
    num_images, num_classes = UNKNOWN_IMAGES, 10
    if size:
        num_images, num_classes = size.num_images, len(size.classes)
    share = recipe.data.validation
    if isinstance(share, float) and not (size and size.has_validation):
        num_images = round((1 - share) * num_images)
    trainings = [
        options for options in recipe.all_stages.values() if isinstance(options, TrainingOptions)
    ]
    counts = Counts(num_images, 0, 0, ANY_NUMBER)
    passes = sum(training_passes(options, counts).all_steps for options in trainings)
    return Workload(
        candidates=CANDIDATES,
        num_classes=num_classes,
        input_size=recipe.views.crop or recipe.data.image_size or 224,
        batch_size=trainings[0].batch_size,
        num_images=passes / STEP_PASSES,
        hours=hours,
    )


def announce(table: Table, paths: list[str], size: SetSize) -> None:
    """Log what was chosen, and what cannot be concluded from few images."""
    values = ", ".join(f"{path} = {value_at(table, path)}" for path in paths)
    log.info(
        "%s images of %d classes to train and validate on, %s to test on%s",
        *(f"{size.num_images:,}", len(size.classes), f"{size.num_test:,}"),
        f"; chosen: {values}" if values else "",
    )
    if note := note_on_few(size.classes, size.num_test):
        log.warning("%s", note)
