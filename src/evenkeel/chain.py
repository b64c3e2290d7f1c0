"""The whole chain: teacher, student, assessment and report, each part done once."""

import io
from collections.abc import Sequence
from pathlib import Path

import torch
from accelerate import Accelerator

from evenkeel import runs
from evenkeel.assess import (
    AssessOptions,
    assess,
    chosen_cells,
    save_assessment,
    save_examples,
)
from evenkeel.corruptions import (
    Suite,
    find_suite,
    generated_suite,
    stored_suite,
)
from evenkeel.corruptions.names import Frost
from evenkeel.data import DataOptions, ImageSet, Splits, load_splits
from evenkeel.models import load_model, num_parameters, outline, refuse_too_small
from evenkeel.recipe import Recipe, differing_keys, load_recipe, recipe_toml
from evenkeel.report import write_report
from evenkeel.runs import Progress, UserError, no_progress
from evenkeel.seeding import stream_key
from evenkeel.training import refuse_smaller, refuse_untrainable, train_student, train_teacher
from evenkeel.training.launching import default_accelerator, naming_lost_processes
from evenkeel.training.memory_need import refuse_too_large
from evenkeel.training.normalisation import refuse_division
from evenkeel.training.processes import first_process_writes
from evenkeel.views import ViewMaker, overlaps, view_sheet

NAMES = ("teacher", "student")
GENERATED = "generated"


@naming_lost_processes()
def run(
    recipe: Recipe,
    out: Path | str,
    *,
    accelerator: Accelerator | None = None,
    progress: Progress = no_progress,
) -> Path:
    """Train teacher and student, assess both and write the report; give the report's path.

    A run that was cut off goes on where it stood; what is finished is not done again.

    Args:
        recipe: the whole run, described (`load_recipe`).
        out: the run folder.
        accelerator: the processes and the device; by default what Accelerate finds.
        progress: told how far the run is.

    Raises:
        UserError: the folder holds a run of another recipe, or another process writes it; the
            data is missing.
    """
    folder, accelerator = Path(out), accelerator or default_accelerator()
    claim_folder(folder, recipe)
    if not (folder / "report.html").exists():
        data = load_splits(recipe.data, progress=progress)
        refuse_the_impossible(recipe, data, accelerator)
        with first_process_writes(accelerator, folder):
            claim_folder(folder, recipe)  # another process may have begun or finished meanwhile
            complete(folder, recipe, data, accelerator, progress)
    return folder / "report.html"


def complete(
    folder: Path, recipe: Recipe, data: Splits, accelerator: Accelerator, progress: Progress
) -> None:
    """Do the parts of a run that are not done yet."""
    if accelerator.is_main_process:
        begin(folder, recipe, data)
    accelerator.wait_for_everyone()
    teacher, student = (folder / name / "model.safetensors" for name in NAMES)
    shared = {"seed": recipe.seed, "accelerator": accelerator, "progress": progress}
    if not teacher.exists():
        train_teacher(data, recipe.views, recipe.teacher, teacher.parent, **shared)
    if not student.exists():
        train_student(data, recipe.views, recipe.student, teacher, student.parent, **shared)
    if accelerator.is_main_process:  # the others have nothing left to do, and do not wait
        examine(folder, recipe, data, accelerator.device, progress)


def refuse_the_impossible(recipe: Recipe, data: Splits, accelerator: Accelerator) -> None:
    """Refuse before anything is written what would fail after it."""
    suite = suite_for(recipe.assess, data.test, recipe.data.root, recipe.seed)
    chosen_cells(suite, recipe.assess)
    for name, part in zip(NAMES, (recipe.teacher, recipe.student), strict=True):
        refuse_too_small(part.model, recipe.views.input_size(data.train.image_size))
        refuse_division(name, part, accelerator)
        refuse_untrainable(name, part, len(data.train), accelerator)
        refuse_too_large(name, part, len(data.train.classes), accelerator.device)
    sizes = [num_parameters(outline(part.model, 2)) for part in (recipe.teacher, recipe.student)]
    if not recipe.student.allow_smaller_student:
        refuse_smaller(teacher=sizes[0], student=sizes[1])


def claim_folder(folder: Path, recipe: Recipe) -> None:
    """Refuse a folder that cannot be written, or holds the run of another recipe."""
    runs.refuse_unwritable_folder(folder)
    written = folder / "recipe.toml"
    if not written.exists():
        return
    keys = differing_keys(earlier_recipe([folder]), recipe)
    if keys:
        raise UserError(
            f"{folder} holds a run of another recipe; it differs in {', '.join(keys[:8])}"
            f"{', ...' if len(keys) > 8 else ''};\n"
            "give another folder with --out, or delete this one"
        )


def begin(folder: Path, recipe: Recipe, data: Splits) -> None:
    """Write what is known before the training: recipe, environment, a sheet of views."""
    if (folder / "recipe.toml").exists():
        return
    write_view_sheet(data, recipe, folder / "views.png")
    runs.write_json(folder / "environment.json", runs.environment())
    runs.write_atomically(folder / "recipe.toml", recipe_toml(recipe).encode())


def write_view_sheet(data: Splits, recipe: Recipe, out: Path) -> None:
    """Write a picture of clean and noisy views as the recipe's student will see them."""
    runs.refuse_unwritable_file(out)
    image_size = data.train.image_size
    seed = int(stream_key(recipe.seed, "sheet"))
    try:
        maker = ViewMaker(recipe.views, image_size=image_size, seed=seed)
    except ValueError as error:
        raise UserError(f"views: {error}") from None
    picture = io.BytesIO()
    view_sheet(data.train, maker).save(picture, "PNG")
    runs.write_atomically(out, picture.getvalue())


def examine(
    folder: Path, recipe: Recipe, data: Splits, device: torch.device, progress: Progress
) -> None:
    """Assess teacher and student on the test split, and write the report."""
    if not (folder / "assessment.json").exists():
        files = {name: folder / name / "model.safetensors" for name in NAMES}
        models = {name: load_model(path).to(device) for name, path in files.items()}
        suite = suite_for(recipe.assess, data.test, recipe.data.root, recipe.seed)
        facts = {"overlaps": overlaps(recipe.views.noise, suite.corruptions)}
        examination = assess(models, data.test, suite, recipe.assess, progress=progress)
        save_examples(examination, data.test, suite, folder / "examples")
        save_assessment(examination, folder, facts)
    write_report([folder], folder / "report.html")


def suite_for(options: AssessOptions, test: ImageSet, root: Path | None, seed: int) -> Suite:
    """Give the suite that the options name: made from the test images, or a folder."""
    if options.suite == GENERATED:
        return generated_suite(test.images, seed=seed, frost=options.frost)
    return stored_suite(find_suite(options.suite, root), test)


def assess_files(  # noqa: PLR0913
    places: Sequence[Path],
    out: Path,
    data_options: DataOptions | None,
    options: AssessOptions,
    *,
    seed: int | None = None,
    frost: Frost | None = None,
    progress: Progress = no_progress,
) -> None:
    """Assess models on disk and write the assessment, with its predictions beside it.

    Args:
        places: run folders (their teacher and student) or model files; the first model is the
            baseline of all comparisons.
        out: the assessment, a `.json` file.
        data_options: the data; by default that of the first run folder.
        options: which cells, how many images, which precision.
        seed: of the generated corruptions' draws; by default 0.
        frost: the generated frost's ice; by default the run's, else that of the options.
        progress: told how far the assessment is.
    """
    if out.suffix != ".json":
        raise UserError(f"an assessment is a .json file, got --out {out}; name it {out}.json")
    runs.refuse_unwritable_file(out)
    if options.suite != GENERATED:
        refuse_how_to_generate(options.suite, {"--seed": seed, "--frost": frost})
    files = model_files(places)
    device = default_accelerator().device
    models = {name: load_model(path).to(device) for name, path in files.items()}
    sizes = {model.image_size for model in models.values()}
    if len(sizes) > 1:
        raise UserError(
            f"these models take stored images of {', '.join(map(str, sorted(sizes)))} pixels;\n"
            "assess models of one size at a time"
        )
    recipe = earlier_recipe(places) if data_options is None else None
    wanted = recipe.data if recipe else data_options
    assert wanted is not None
    wanted = wanted.model_copy(update={"image_size": sizes.pop()})
    data = load_splits(wanted, progress=progress)
    ice = frost or (recipe.assess.frost if recipe else options.frost)
    options = options.model_copy(update={"frost": ice})
    suite = suite_for(options, data.test, wanted.root, seed or 0)
    facts = {"overlaps": overlaps(recipe.views.noise, suite.corruptions)} if recipe else {}
    examination = assess(models, data.test, suite, options, progress=progress)
    save_assessment(examination, out, facts)


def refuse_how_to_generate(suite: str, given: dict[str, object]) -> None:
    """Refuse to say how a suite is made that is there already."""
    for name, value in given.items():
        if value is not None:
            raise UserError(
                f"{name} says how corruptions are generated, and the suite {suite} is there "
                "already; leave it out"
            )


def model_files(places: Sequence[Path]) -> dict[str, Path]:
    """Name the models: teacher and student of a run, or a file's folder; the run, where unclear."""
    files = [file for place in places for file in models_at(place)]
    if not files:
        raise UserError("there is no model to assess; give a run folder or a model.safetensors")
    short = [named(file) for file in files]
    if len(set(short)) == len(short):
        return dict(zip(short, files, strict=True))
    long = [f"{file.resolve().parent.parent.name}-{named(file)}" for file in files]
    if len(set(long)) < len(long):
        raise UserError(
            f"these models cannot be told apart by name: {', '.join(long)};\n"
            "rename their run folders, or assess them one by one"
        )
    return dict(zip(long, files, strict=True))


def models_at(place: Path) -> list[Path]:
    """Give a run folder's two models, or the file itself."""
    if not place.is_dir():
        if not place.suffix:
            runs.refuse_missing_run(place)
        return [place]
    files = [place / name / "model.safetensors" for name in NAMES]
    found = [file for file in files if file.exists()]
    if not found:
        raise UserError(f"{place} holds no teacher/ or student/model.safetensors; run it first")
    return found


def named(file: Path) -> str:
    """Name a model: `student/model.safetensors` is student."""
    return file.resolve().parent.name if file.stem == "model" else file.stem


def earlier_recipe(places: Sequence[Path]) -> Recipe:
    """Read the recipe of the first run folder among these."""
    for place in places:
        if (place / "recipe.toml").exists():
            return load_recipe(place / "recipe.toml")
    raise UserError("which data? give --data NAME, or a run folder that holds a recipe.toml")
