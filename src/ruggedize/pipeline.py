"""A whole run: its preflight checks, its stages in order, assessment and report."""

import io
import tomllib
from pathlib import Path

from accelerate import Accelerator

from ruggedize.assess import (
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
from ruggedize.core.progress import Progress, no_progress
from ruggedize.core.seeding import stream_key
from ruggedize.core.tables import holds_custom
from ruggedize.corruptions import (
    Suite,
    find_suite,
    generated_suite,
    reject_incomplete,
    stored_suite,
)
from ruggedize.data import ImageSet, Splits, data_digest, load_splits
from ruggedize.models import Classifier, meta_model, num_parameters
from ruggedize.recipe import Recipe, differing, differing_keys, load_recipe, recipe_toml
from ruggedize.report import write_report
from ruggedize.train import (
    StudentOptions,
    TrainingOptions,
    check_stage,
    default_accelerator,
    first_process_writes,
    load_trained,
    naming_lost_processes,
    reject_changed_model,
    reject_smaller,
    train_stage,
)
from ruggedize.views import ViewMaker, overlaps, view_sheet

NAMES = ("teacher", "student")  # of the stages that every run has
GENERATED = "generated"


@naming_lost_processes()
def run(
    recipe: Recipe,
    out: Path | str,
    *,
    accelerator: Accelerator | None = None,
    progress: Progress = no_progress,
) -> Path:
    """Train every stage, assess all models and write the report; return the report's path.

    A run that was cut off goes on where it stood; what is finished is not done again.

    Args:
        recipe: the whole run, described (`load_recipe`).
        out: the run folder.
        accelerator: the processes and the device; by default what Accelerate finds.
        progress: told how far the run is.

    Raises:
        UserError: the folder is another recipe's, or is being written; the data is missing.
    """
    folder, accelerator = Path(out), accelerator or default_accelerator()
    claim_folder(folder, recipe)
    if is_finished(folder, recipe):
        check_same_data(folder, recipe)
    else:
        data = load_splits(recipe.data, progress=progress)
        check_recipe(recipe, data, accelerator)
        with first_process_writes(accelerator, folder):
            claim_folder(folder, recipe)  # another process may have begun or finished meanwhile
            complete(folder, recipe, data, accelerator, progress)
    return folder / "report.html"


def is_finished(folder: Path, recipe: Recipe) -> bool:
    """Whether all that a run makes is there.

    Raises:
        UserError: a model is not the one that was delivered.
    """
    for name in recipe.all_stages:
        reject_changed_model(folder / name)
    written = all((folder / name).exists() for name in ("recipe.toml", "report.html"))
    trained = all(path.exists() for path in models_of(folder, recipe).values())
    return written and trained and is_assessed(folder, recipe)


def is_assessed(folder: Path, recipe: Recipe) -> bool:
    """Whether the models that are there are those that were assessed."""
    predictions = [folder / "predictions" / f"{name}.safetensors" for name in recipe.all_stages]
    if not all(path.exists() for path in (folder / "assessment.json", *predictions)):
        return False
    known = load_assessment(folder / "assessment.json").facts.models
    return all(known.get(name, now) == now for name, now in hashes(folder, recipe).items())


def check_same_data(folder: Path, recipe: Recipe) -> None:
    """Raise UserError if the data of a finished run has changed; decodes nothing.

    Data that is no longer there is not compared.
    """
    then = load_assessment(folder / "assessment.json").facts.data
    now = data_digest(recipe.data) if then else None
    if then and now:
        then.check_unchanged(now, f"the run in {folder}")


def models_of(folder: Path, recipe: Recipe) -> dict[str, Path]:
    """Return a run's model files by stage: first the stages that learn from no other one.

    The first is the baseline of all comparisons, and the last what the run is about.
    """
    stages = recipe.all_stages
    alone = [name for name, options in stages.items() if teacher_of(options) is None]
    others = [name for name in stages if name not in alone]
    return {name: folder / name / "model.safetensors" for name in (*alone, *others)}


def teacher_of(options: TrainingOptions) -> str | None:
    """Return the stage that a stage learns from; None: no other one."""
    return options.learns_from if isinstance(options, StudentOptions) else None


def hashes(folder: Path, recipe: Recipe) -> dict[str, str]:
    """Return the SHA-256 of a run's models."""
    files = models_of(folder, recipe)
    return {name: sha256(path) for name, path in files.items() if path.exists()}


def complete(
    folder: Path, recipe: Recipe, data: Splits, accelerator: Accelerator, progress: Progress
) -> None:
    """Do the parts of a run that are not done yet."""
    if accelerator.is_main_process:
        begin(folder, recipe, data)
    accelerator.wait_for_everyone()
    files = models_of(folder, recipe)
    for name, options in recipe.all_stages.items():
        train_stage(
            name,
            data,
            recipe.views,
            options,
            folder / name,
            teachers=teachers_of(name, recipe, files, len(data.train.classes)),
            seed=recipe.seed,
            accelerator=accelerator,
            progress=progress,
        )
    accelerator.wait_for_everyone()  # until the last model is written
    assess_stages(folder, recipe, data, accelerator, progress)


def teachers_of(
    name: str, recipe: Recipe, files: dict[str, Path], num_classes: int
) -> dict[str, Path | Classifier]:
    """Return the teacher of a stage by its name: its file, or a loaded network of one's own."""
    source = teacher_of(recipe.all_stages[name])
    if source is None:
        return {}
    options = recipe.all_stages[source]
    is_custom = options.model.name == "custom"
    model = load_trained(files[source], options, num_classes) if is_custom else files[source]
    return {source: model}


def check_recipe(recipe: Recipe, data: Splits, accelerator: Accelerator) -> None:
    """Raise UserError, before anything is written, for what would fail later."""
    suite = suite_for(recipe.assess, data.test, recipe.data.root, recipe.seed)
    chosen_cells(suite, recipe.assess)
    for name, part in recipe.all_stages.items():
        check_stage(name, part, data, recipe.views, accelerator)
    sizes = {name: num_parameters(meta_model(p.model, 2)) for name, p in recipe.all_stages.items()}
    for name, part in recipe.all_stages.items():
        if isinstance(part, StudentOptions) and part.learns_from and not part.allow_smaller_student:
            reject_smaller(teacher=sizes[part.learns_from], student=sizes[name])


def claim_folder(folder: Path, recipe: Recipe) -> None:
    """Reject a folder that cannot be written, or holds the run of another recipe."""
    files.reject_unwritable_folder(folder)
    written = folder / "recipe.toml"
    if not written.exists():
        if any((folder / name).exists() for name in recipe.all_stages):
            raise UserError(
                f"{folder} holds a training, and no {written.name} that says of which run;\n"
                "give another folder with --out"
            )
        return
    try:
        keys = keys_that_differ(written, recipe)
    except UserError as error:
        raise UserError(
            f"{written} was changed, or is of another version: {error}".partition("\n")[0]
            + "\nbring it back as the run wrote it, or give another folder with --out"
        ) from None
    if keys:
        raise UserError(
            f"{folder} holds a run of another recipe; it differs in {', '.join(keys[:8])}"
            f"{', ...' if len(keys) > 8 else ''};\n"
            "give another folder with --out, or delete this one"
        )


def keys_that_differ(written: Path, recipe: Recipe) -> list[str]:
    """Name the options in which a run's recipe differs; parts of the user's own as written."""
    table = recipe.model_dump(mode="json", exclude_none=True)
    if not holds_custom(table):
        return differing_keys(load_recipe(written), recipe)
    return differing(tomllib.loads(written.read_text(encoding="utf-8")), table)


def begin(folder: Path, recipe: Recipe, data: Splits) -> None:
    """Write what is known before the training: recipe, environment, a sheet of views."""
    if (folder / "recipe.toml").exists():
        return
    write_view_sheet(data, recipe, folder / "views.png")
    files.write_json(folder / "environment.json", environment())
    files.write_atomically(folder / "recipe.toml", recipe_toml(recipe).encode())


def write_view_sheet(data: Splits, recipe: Recipe, out: Path) -> None:
    """Write a picture of clean and noisy views as the recipe's student will see them."""
    if out.suffix.lower() != ".png":
        raise UserError(f"a sheet of views is a PNG, got {out}; name it {out.stem}.png")
    files.reject_unwritable_file(out)
    image_size = data.train.image_size
    seed = int(stream_key(recipe.seed, "sheet"))
    maker = ViewMaker(recipe.views, image_size=image_size, seed=seed)
    picture = io.BytesIO()
    view_sheet(data.train, maker).save(picture, "PNG")
    files.write_atomically(out, picture.getvalue())


def assess_stages(
    folder: Path, recipe: Recipe, data: Splits, accelerator: Accelerator, progress: Progress
) -> None:
    """Assess the models of all stages on the test split; the first process writes the report."""
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
    """Return the suite that the options name: made from the test images, or a folder."""
    if options.suite == GENERATED:
        return generated_suite(test.images, seed=seed, options=options.corruption_options)
    folder = find_suite(options.suite, root)
    suite = stored_suite(folder, test)
    if options.corruptions is None:
        reject_incomplete(folder, suite)
    return suite
