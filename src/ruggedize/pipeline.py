"""A whole run: preflight checks, training of all stages, assessment and report."""

import tomllib
from pathlib import Path

from accelerate import Accelerator

from ruggedize.assess import (
    GENERATED,
    AssessmentFacts,
    AssessOptions,
    assess,
    chosen_cells,
    load_assessment,
    save_assessment,
    save_examples,
)
from ruggedize.core import files
from ruggedize.core.environment import environment
from ruggedize.core.errors import UserError
from ruggedize.core.files import sha256
from ruggedize.core.places import user_path
from ruggedize.core.progress import Progress, no_progress
from ruggedize.core.reading import read_bytes
from ruggedize.core.tables import holds_custom
from ruggedize.corruptions import (
    Suite,
    find_suite,
    further_corruptions,
    generated_suite,
    reject_incomplete,
    stored_suite,
)
from ruggedize.data import ImageSet, Splits, data_digest, load_splits
from ruggedize.models import Classifier, meta_model, num_parameters
from ruggedize.recipe import Recipe, differing, differing_keys, keep_place, load_recipe, recipe_toml
from ruggedize.report import write_report
from ruggedize.train import (
    StudentOptions,
    TrainingOptions,
    check_stage,
    default_accelerator,
    first_process_writes,
    is_skipped,
    load_trained,
    naming_lost_processes,
    reject_changed_model,
    reject_smaller,
    skip_without_gain,
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
            complete(folder, recipe, data, accelerator, progress)
    return folder / "report.html"


def is_finished(folder: Path, recipe: Recipe) -> bool:
    """Return whether all outputs of a run exist.

    Raises:
        UserError: a model file has been changed since it was delivered.
    """
    for name in stages_of(folder, recipe):
        reject_changed_model(folder / name)
    is_written = all((folder / name).exists() for name in ("recipe.toml", "report.html"))
    is_trained = all(path.exists() for path in models_of(folder, recipe).values())
    return is_written and is_trained and is_assessed(folder, recipe)


def is_assessed(folder: Path, recipe: Recipe) -> bool:
    """Return whether there is an assessment of the current models."""
    names = stages_of(folder, recipe)
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


def models_of(folder: Path, recipe: Recipe) -> dict[str, Path]:
    """Return the model files of a run by stage, starting with stages that have no teacher.

    The first model is the baseline of all comparisons, the last is the main result.
    """
    stages = stages_of(folder, recipe)
    untaught = [name for name, options in stages.items() if not options.teachers]
    taught = [name for name in stages if name not in untaught]
    return {name: folder / name / "model.safetensors" for name in (*untaught, *taught)}


def stages_of(folder: Path, recipe: Recipe) -> dict[str, TrainingOptions]:
    """Return the stages of a run that were not skipped."""
    stages = recipe.all_stages.items()
    return {name: options for name, options in stages if not is_skipped(folder, name)}


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
    stages = recipe.all_stages
    for name, options in stages.items():
        if skip_without_gain(folder, name, stages, record=accelerator.is_main_process):
            continue
        train_stage(
            name,
            data,
            recipe.views,
            options,
            folder / name,
            teachers=teachers_of(name, recipe, folder, len(data.train.classes)),
            seed=recipe.seed,
            accelerator=accelerator,
            progress=progress,
        )
    accelerator.wait_for_everyone()  # until the last model is written
    if accelerator.is_main_process:
        keep_place(folder / "recipe.toml", recipe)
    assess_stages(folder, recipe, data, accelerator, progress)


def teachers_of(
    name: str, recipe: Recipe, folder: Path, num_classes: int
) -> dict[str, Path | Classifier]:
    """Return the teachers of a stage by name: a model file, or a loaded custom network."""
    if not recipe.all_stages[name].objective.uses_teacher:
        return {}
    found: dict[str, Path | Classifier] = {}
    for source in recipe.all_stages[name].teachers:
        options, file = recipe.all_stages[source], folder / source / "model.safetensors"
        is_custom = options.model.name == "custom"
        found[source] = load_trained(file, options, num_classes) if is_custom else file
    return found


def check_recipe(recipe: Recipe, data: Splits, accelerator: Accelerator) -> None:
    """Raise UserError for options that would fail later; called before anything is written."""
    suite = suite_for(recipe.assess, data.test, recipe.data.root, recipe.seed)
    chosen_cells(suite, recipe.assess)
    stages = recipe.all_stages
    for name, options in stages.items():
        check_stage(name, options, data, recipe.views, accelerator)
    sizes = {name: num_parameters(meta_model(stages[name].model, 2)) for name in stages}
    for name, options in stages.items():
        for teacher in options.teachers:
            if isinstance(options, StudentOptions) and not options.allow_smaller_student:
                reject_smaller(teacher=sizes[teacher], student=sizes[name])
    warn_of_unused_images([options.objective for options in stages.values()], data)


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


def keys_that_differ(written: Path, recipe: Recipe) -> list[str]:
    """Return the options in which the recipe of a run differs.

    With user-defined parts, which cannot be loaded from TOML, the tables are compared as written.
    """
    table = recipe.model_dump(mode="json", exclude_none=True)
    if not holds_custom(table):
        return differing_keys(load_recipe(written), recipe)
    return differing(tomllib.loads(read_bytes(written).decode()), table)


def write_recipe(folder: Path, recipe: Recipe, data: Splits) -> None:
    """Write the sheet of views, environment.json and recipe.toml, unless done."""
    if (folder / "recipe.toml").exists():
        return
    save_view_sheet(data.train, recipe.views, recipe.seed, folder / "views.png")
    files.write_json(folder / "environment.json", environment())
    files.write_atomically(folder / "recipe.toml", recipe_toml(recipe).encode())


def assess_stages(
    folder: Path, recipe: Recipe, data: Splits, accelerator: Accelerator, progress: Progress
) -> None:
    """Assess the models of all stages; the first process writes the report."""
    if not is_assessed(folder, recipe):
        num_classes = len(data.test.classes)
        models = {
            name: load_trained(path, recipe.all_stages[name], num_classes).to(accelerator.device)
            for name, path in models_of(folder, recipe).items()
        }
        suite = suite_for(recipe.assess, data.test, recipe.data.root, recipe.seed)
        result = assess(
            models, data.test, suite, recipe.assess, accelerator=accelerator, progress=progress
        )
        if not accelerator.is_main_process:  # there is nothing left to do
            return
        pictures = save_examples(result, data.test, suite, folder / "examples")
        facts = AssessmentFacts(
            overlaps=overlaps(recipe.views.noise, suite.corruptions),
            left_out=data.left_out,
            models=hashes(folder, recipe),
            data=data.digest,
            examples=tuple(path.name for path in pictures),
        )
        save_assessment(result, folder, facts)
    elif accelerator.is_main_process:
        check_same_data(folder, recipe)
    if accelerator.is_main_process:
        write_report([folder], folder / "report.html")


def suite_for(options: AssessOptions, test: ImageSet, root: Path | None, seed: int) -> Suite:
    """Return the suite that the options select: generated from the test images, or a folder."""
    if options.suite == GENERATED:
        return generated_suite(
            test.images,
            seed=seed,
            preset=options.preset,
            options=options.corruption_options,
            extra=further_corruptions(options.corruptions),
        )
    folder = find_suite(options.suite, root)
    suite = stored_suite(folder, test, options.severities)
    if options.corruptions is None:
        reject_incomplete(folder, suite)
    return suite
