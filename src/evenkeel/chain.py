"""The whole chain: teacher, student, assessment and report, each part done once."""

import io
import tomllib
from pathlib import Path

from accelerate import Accelerator

from evenkeel import runs
from evenkeel.assess import assess, save_assessment
from evenkeel.corruptions import generated_suite
from evenkeel.data import Splits, load_splits
from evenkeel.models import load_model
from evenkeel.recipe import Recipe, differing_keys, recipe_toml
from evenkeel.report import write_report
from evenkeel.runs import Progress, UserError, no_progress
from evenkeel.seeding import stream_key
from evenkeel.training import train_student, train_teacher
from evenkeel.views import ViewMaker, overlaps, view_sheet


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
        UserError: the folder holds a run of another recipe; the data is missing.
    """
    folder, accelerator = Path(out), accelerator or Accelerator()
    claim_folder(folder, recipe)
    data = load_splits(recipe.data)
    if accelerator.is_main_process:
        begin(folder, recipe, data)
    accelerator.wait_for_everyone()
    teacher, student = (folder / name / "model.safetensors" for name in ("teacher", "student"))
    shared = {"seed": recipe.seed, "accelerator": accelerator, "progress": progress}
    if not teacher.exists():
        train_teacher(data, recipe.views, recipe.teacher, teacher.parent, **shared)
    accelerator.wait_for_everyone()
    if not student.exists():
        train_student(data, recipe.views, recipe.student, teacher, student.parent, **shared)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        examine(folder, recipe, data, progress)
    accelerator.wait_for_everyone()
    return folder / "report.html"


def claim_folder(folder: Path, recipe: Recipe) -> None:
    """Refuse a folder that holds the run of another recipe, naming what differs."""
    written = folder / "recipe.toml"
    if not written.exists():
        return
    earlier = Recipe.model_validate(tomllib.loads(written.read_text()))
    keys = differing_keys(earlier, recipe)
    if keys:
        raise UserError(
            f"{folder} holds a run of another recipe; it differs in {', '.join(keys[:8])}"
            f"{', ...' if len(keys) > 8 else ''};\ngive another folder with --out, or delete this one"
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
    image_size = data.train.images.shape[-1]
    seed = int(stream_key(recipe.seed, "sheet"))
    try:
        maker = ViewMaker(recipe.views, image_size=image_size, seed=seed)
    except ValueError as error:
        raise UserError(f"views: {error}") from None
    picture = io.BytesIO()
    view_sheet(data.train, maker).save(picture, "PNG")
    runs.write_atomically(out, picture.getvalue())


def examine(folder: Path, recipe: Recipe, data: Splits, progress: Progress) -> None:
    """Assess teacher and student on the test split, and write the report."""
    if not (folder / "assessment.json").exists():
        models = {name: load_model(folder / name / "model.safetensors") for name in NAMES}
        suite = generated_suite(data.test.images, seed=recipe.seed)
        facts = {"overlaps": overlaps(recipe.views.noise, suite.corruptions)}
        result = assess(models, data.test, suite, recipe.assess, progress=progress)
        save_assessment(result, folder, facts)
    write_report([folder], folder / "report.html")


NAMES = ("teacher", "student")
