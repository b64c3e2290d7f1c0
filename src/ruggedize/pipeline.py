"""A whole run: preflight checks, training of all stages, assessment and report."""

from pathlib import Path
from typing import Any

from accelerate import Accelerator

from ruggedize.assess import (
    AssessmentFacts,
    assess,
    chosen_cells,
    load_assessment,
    save_assessment,
    save_examples,
    suite_for,
)
from ruggedize.core import files
from ruggedize.core.environment import environment
from ruggedize.core.errors import UserError
from ruggedize.core.files import sha256
from ruggedize.core.places import user_path
from ruggedize.core.progress import Progress, no_progress
from ruggedize.corruptions import Suite, compiling_ahead
from ruggedize.data import Splits, data_digest, load_splits
from ruggedize.models import Classifier
from ruggedize.recipe import (
    Counts,
    Outlook,
    Recipe,
    check_networks,
    keep_place,
    keys_that_differ,
    models_of,
    passes_of,
    recipe_toml,
    required_gain,
    skip_stage,
    stages_needed,
    start_of,
    teachers_in,
)
from ruggedize.report import write_report
from ruggedize.tracking import Tracking, reject_missing_trackers, tracking_of
from ruggedize.train import (
    InterpolationOptions,
    check_stage,
    default_accelerator,
    first_process_writes,
    interpolate_stage,
    load_trained,
    naming_lost_processes,
    reject_changed_model,
    train_stage,
    warn_of_unused_images,
)
from ruggedize.views import overlaps, save_view_sheet

NAMES = ("teacher", "student")  # the stages of every run


@naming_lost_processes()
def run(
    recipe: Recipe,
    out: Path | str,
    *,
    accelerator: Accelerator | None = None,
    progress: Progress = no_progress,
) -> Path:
    """Train all stages, assess all models and write the report; return the path of the report.

    An interrupted run is resumed; finished parts are skipped.

    Args:
        recipe: the recipe of the run (see `load_recipe`).
        out: the run folder.
        accelerator: processes and device; default: detected by Accelerate.
        progress: called as progress(task, done, total) after every unit of work.

    Raises:
        UserError: the folder belongs to another recipe or is in use, or the data is missing.
    """
    folder, accelerator = user_path(out), accelerator or default_accelerator()
    reject_other_run(folder, recipe)
    if is_finished(folder, recipe):  # its disk may be read-only by now
        check_same_data(folder, recipe)
    else:
        files.reject_unwritable_folder(folder)
        data = load_splits(recipe.data, progress=progress)
        check_recipe(recipe, data, accelerator)
        with first_process_writes(accelerator, folder):
            reject_other_run(folder, recipe)  # another process may have started one
            if accelerator.is_main_process:
                unlabelled = 0 if data.unlabelled is None else len(data.unlabelled)
                counts = Counts(len(data.train), len(data.validation), len(data.test), unlabelled)
                progress = Outlook(progress, passes_of(recipe, counts))
            complete(folder, recipe, data, accelerator, progress)
    return folder / "report.html"


def is_finished(folder: Path, recipe: Recipe) -> bool:
    """Return whether all outputs of a run exist.

    Raises:
        UserError: a model file has been changed since it was delivered.
    """
    for name in models_of(folder, recipe):
        reject_changed_model(folder / name)
    is_written = all((folder / name).exists() for name in ("recipe.toml", "report.html"))
    is_trained = all(path.exists() for path in models_of(folder, recipe).values())
    return is_written and is_trained and is_assessed(folder, recipe)


def is_assessed(folder: Path, recipe: Recipe) -> bool:
    """Return whether there is an assessment of the current models."""
    names = models_of(folder, recipe)
    predictions = [folder / "predictions" / f"{name}.safetensors" for name in names]
    if not all(path.exists() for path in (folder / "assessment.json", *predictions)):
        return False
    assessed = load_assessment(folder / "assessment.json").facts.models
    current = hashes(folder, recipe)
    return all(assessed.get(name, sha256) == sha256 for name, sha256 in current.items())


def check_same_data(folder: Path, recipe: Recipe) -> None:
    """Raise UserError if the data of a finished run has changed; decodes nothing.

    Data that no longer exists is not compared.
    """
    recorded = load_assessment(folder / "assessment.json").facts.data
    current = data_digest(recipe.data) if recorded else None
    if recorded and current:
        recorded.check_unchanged(current, f"the run in {folder}")


def hashes(folder: Path, recipe: Recipe) -> dict[str, str]:
    """Return the SHA-256 of the existing models of a run."""
    files = models_of(folder, recipe)
    return {name: sha256(path) for name, path in files.items() if path.exists()}


def complete(
    folder: Path, recipe: Recipe, data: Splits, accelerator: Accelerator, progress: Progress
) -> None:
    """Train, assess and report what is not finished yet."""
    if accelerator.is_main_process:
        write_recipe(folder, recipe, data)
    accelerator.wait_for_everyone()
    suite = suite_for(recipe.assess, data.test, recipe.data.root, recipe.seed)
    uses_all = recipe.assess.corruptions is None and accelerator.is_main_process
    callbacks = {"accelerator": accelerator, "progress": progress}
    with tracking_of(recipe.track, folder, accelerator) as tracking:
        tracking.on_picture(folder / "views.png")
        with compiling_ahead(suite if uses_all else None):
            make_stages(folder, recipe, data, tracking, callbacks)
        accelerator.wait_for_everyone()  # until the last model is written
        if accelerator.is_main_process:
            keep_place(folder / "recipe.toml", recipe)
        assess_stages(folder, recipe, data, suite, callbacks)
        tracking.on_assessment(folder / "assessment.json")


def make_stages(
    folder: Path, recipe: Recipe, data: Splits, tracking: Tracking, callbacks: dict[str, Any]
) -> None:
    """Make the stages in their order."""
    shared = {"seed": recipe.seed, **callbacks}
    models = {name: folder / name / "model.safetensors" for name in recipe.all_stages}
    is_first = callbacks["accelerator"].is_main_process
    for name, options in recipe.all_stages.items():
        needed, gain = stages_needed(recipe, name), required_gain(recipe, name)
        if skip_stage(folder, name, needed, gain, record=is_first):
            continue
        if isinstance(options, InterpolationOptions):
            interpolate_stage(
                name,
                data,
                recipe.views,
                options,
                folder / name,
                start=start_of(folder, options, recipe),
                end=models[options.interpolate],
                training=recipe.training_of(name),
                preset=recipe.assess.preset,
                **shared,
            )
        else:
            train_stage(
                name,
                data,
                recipe.views,
                options,
                folder / name,
                teachers=teachers_of(name, recipe, models, len(data.train.classes)),
                start=models.get(options.start or ""),
                on_rows=tracking.on_rows,
                **shared,
            )
        tracking.on_stage(name, folder / name)


def teachers_of(
    name: str, recipe: Recipe, models: dict[str, Path], num_classes: int
) -> dict[str, Path | Classifier]:
    """Return the teachers of a stage by name: a model file, or a loaded custom network."""
    found: dict[str, Path | Classifier] = {}
    for source in teachers_in(recipe, name):
        options = recipe.training_of(source)
        is_custom = options.model.name == "custom"
        file = models[source]
        found[source] = load_trained(file, options, num_classes) if is_custom else file
    return found


def check_recipe(recipe: Recipe, data: Splits, accelerator: Accelerator) -> None:
    """Raise UserError for options that would fail later; called before anything is written."""
    reject_missing_trackers(recipe.track)
    suite = suite_for(recipe.assess, data.test, recipe.data.root, recipe.seed)
    chosen_cells(suite, recipe.assess)
    for name, options in recipe.trainings.items():
        check_stage(name, options, data, recipe.views, accelerator)
    input_size = recipe.views.input_size(data.train.image_size)
    check_networks(recipe, len(data.train.classes), input_size)
    warn_of_unused_images([options.objective for options in recipe.trainings.values()], data)


def reject_other_run(folder: Path, recipe: Recipe) -> None:
    """Raise UserError if a folder belongs to a run of another recipe."""
    written = folder / "recipe.toml"
    if not written.exists():
        if any((folder / name).exists() for name in recipe.all_stages):
            raise UserError(
                f"{folder} contains a training but no {written.name}, so its recipe is unknown;\n"
                "give another folder with --out"
            )
        return
    try:
        keys = keys_that_differ(written, recipe)
    except UserError as error:
        raise UserError(
            f"{written} was edited, or written by another version: {error}".partition("\n")[0]
            + "\nrestore it, or give another folder with --out"
        ) from None
    if keys:
        raise UserError(
            f"{folder} contains a run of another recipe, which differs in {', '.join(keys[:8])}"
            f"{', ...' if len(keys) > 8 else ''};\n"
            "give another folder with --out, or delete this one"
        )


def write_recipe(folder: Path, recipe: Recipe, data: Splits) -> None:
    """Write the sheet of views, environment.json and recipe.toml, unless done."""
    if (folder / "recipe.toml").exists():
        return
    save_view_sheet(data.train, recipe.views, recipe.seed, folder / "views.png")
    files.write_json(folder / "environment.json", environment())
    files.write_atomically(folder / "recipe.toml", recipe_toml(recipe).encode())


def assess_stages(
    folder: Path,
    recipe: Recipe,
    data: Splits,
    suite: Suite,
    callbacks: dict[str, Any],
) -> None:
    """Assess the models of all stages; the first process writes the report."""
    place, accelerator = folder / "assessment.json", callbacks["accelerator"]
    if not is_assessed(folder, recipe):
        num_classes = len(data.test.classes)
        models = {
            name: load_trained(path, recipe.training_of(name), num_classes).to(accelerator.device)
            for name, path in models_of(folder, recipe).items()
        }
        result = assess(models, data.test, suite, recipe.assess, resume_for=place, **callbacks)
        if not accelerator.is_main_process:  # there is nothing left to do
            return
        pictures = save_examples(result, data.test, suite, folder / "examples")
        facts = AssessmentFacts(
            overlaps=overlaps(recipe.views.noise, suite.corruptions),
            left_out=data.left_out,
            models=hashes(folder, recipe),
            held_out=tuple(result.assessment.models),
            data=data.digest,
            examples=tuple(path.name for path in pictures),
        )
        save_assessment(result, place, facts)
    elif accelerator.is_main_process:
        check_same_data(folder, recipe)
    if accelerator.is_main_process:
        write_report([folder], folder / "report.html")
