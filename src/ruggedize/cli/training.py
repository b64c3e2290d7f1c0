"""The commands that use recipes: run, train-teacher, train-student, views and recipes."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from ruggedize.cli.args import Changes, DataSet, Folder, Names, RecipeName, Switch, Whole
from ruggedize.cli.display import Bars, console, table
from ruggedize.core.errors import UserError
from ruggedize.core.tables import toml_string

if TYPE_CHECKING:
    from accelerate import Accelerator

    from ruggedize.recipe import ModelChoice
    from ruggedize.train import Workload

RECIPE = "recipe.toml"  # in a run folder


def run(
    recipe: RecipeName,
    /,
    *,
    out: Folder = None,
    seed: Whole = None,
    data: DataSet = None,
    data_root: Folder = None,
    skip_bad_images: Switch = False,
    track: Names = None,
    resume: Switch = False,
    changes: Changes = (),
) -> None:
    """Train teacher and student, assess both and write the report.

    After an interruption, the same command resumes the run.

    Args:
        recipe: A shipped recipe (`ruggedize recipes` lists them) or a TOML file.
        out: Run folder. Default: runs/RECIPE-seedN.
        seed: Overrides the seed of the recipe.
        data: Data set: a folder with CLASS/* or train/CLASS/*, or another value of data.name.
        data_root: Folder that contains the data set, e.g. cifar-10-batches-bin.
        skip_bad_images: Skip files of a folder that cannot be decoded, and list them.
        track: Experiment trackers: tensorboard, wandb, mlflow, trackio.
        resume: Fail if --out contains no run to resume. (An interrupted run is resumed in any
            case.)
        changes: Change an option, e.g. --set student.objective.temperature=4.
    """
    from ruggedize.pipeline import is_finished
    from ruggedize.pipeline import run as run_recipe
    from ruggedize.recipe import load_recipe
    from ruggedize.report import load_summary_rows

    def folder_for(seed: int) -> Path:
        return out or Path("runs") / f"{Path(recipe).stem}-seed{seed}"

    def recorded(seed: int) -> Path:
        folder = folder_for(seed)
        if resume and not (folder / RECIPE).exists():
            raise UserError(f"{folder} contains no run to resume;\nremove --resume to start one")
        return folder / RECIPE

    given = with_options(changes, seed, data, data_root, skip_bad_images, track)
    resolved = load_recipe(recipe, given, choose=choice_of_model, recorded=recorded)
    folder = folder_for(resolved.seed)
    finished = is_finished(folder, resolved)
    accelerator = start_accelerator()
    with Bars(shown=accelerator.is_main_process) as bars:
        report_path = run_recipe(resolved, folder, accelerator=accelerator, progress=bars)
    if not accelerator.is_main_process:
        return
    columns, rows = load_summary_rows(folder / "assessment.json")
    if finished:
        console.print(f"{folder} was already finished")
    console.print(table(f"{recipe}, seed {resolved.seed}", columns, rows))
    console.print(f"report: {report_path}", soft_wrap=True)


def train_teacher(
    recipe: RecipeName,
    /,
    *,
    out: Path,
    seed: Whole = None,
    data: DataSet = None,
    data_root: Folder = None,
    skip_bad_images: Switch = False,
    track: Names = None,
    changes: Changes = (),
) -> None:
    """Train only the teacher of a recipe, on clean views.

    Args:
        recipe: A shipped recipe or a TOML file.
        out: Folder for model.safetensors, metrics.jsonl and the training state.
        seed: Overrides the seed of the recipe.
        data: Data set: a folder with CLASS/* or train/CLASS/*, or another value of data.name.
        data_root: Folder that contains the data set.
        skip_bad_images: Skip files of a folder that cannot be decoded, and list them.
        track: Experiment trackers: tensorboard, wandb, mlflow, trackio.
        changes: Change an option, e.g. --set teacher.epochs=3.
    """
    from ruggedize.data import load_splits
    from ruggedize.recipe import load_recipe
    from ruggedize.tracking import reject_missing_trackers, tracking_of
    from ruggedize.train import train_teacher as train

    given = with_options(changes, seed, data, data_root, skip_bad_images, track)
    resolved = load_recipe(recipe, given, choose=choice_for(out))
    reject_missing_trackers(resolved.track)
    accelerator = start_accelerator()
    with Bars(shown=accelerator.is_main_process) as bars:
        splits = load_splits(resolved.data, progress=bars)
        options = {"seed": resolved.seed, "accelerator": accelerator, "progress": bars}
        with tracking_of(resolved.track, out, accelerator) as tracking:
            options["on_rows"] = tracking.on_rows
            train(splits, resolved.views, resolved.teacher, out, **options)
            tracking.on_stage("teacher", out)
    console.print(f"model: {out / 'model.safetensors'}", soft_wrap=True)


def train_student(
    recipe: RecipeName,
    /,
    *,
    teacher: Path,
    out: Path,
    seed: Whole = None,
    data: DataSet = None,
    data_root: Folder = None,
    skip_bad_images: Switch = False,
    track: Names = None,
    changes: Changes = (),
) -> None:
    """Train only the student of a recipe, with an existing teacher.

    Args:
        recipe: A shipped recipe or a TOML file.
        teacher: The model.safetensors of the teacher, or its folder.
        out: Folder for model.safetensors, metrics.jsonl and the training state.
        seed: Overrides the seed of the recipe.
        data: Data set: a folder with CLASS/* or train/CLASS/*, or another value of data.name.
        data_root: Folder that contains the data set.
        skip_bad_images: Skip files of a folder that cannot be decoded, and list them.
        track: Experiment trackers: tensorboard, wandb, mlflow, trackio.
        changes: Change an option, e.g. --set student.objective.temperature=4.
    """
    from ruggedize.data import load_splits
    from ruggedize.models import read_description
    from ruggedize.recipe import load_recipe
    from ruggedize.tracking import reject_missing_trackers, tracking_of
    from ruggedize.train import train_student as train

    if teacher.is_dir():  # the output of `train-teacher`
        teacher /= "model.safetensors"
    taught_by = read_description(teacher)  # rejects an invalid file before the data is loaded
    given = with_options(changes, seed, data, data_root, skip_bad_images, track)
    network = getattr(taught_by.architecture, "architecture", None)  # of timm
    resolved = load_recipe(recipe, given, choose=choice_for(out, network))
    reject_missing_trackers(resolved.track)
    accelerator = start_accelerator()
    with Bars(shown=accelerator.is_main_process) as bars:
        splits = load_splits(resolved.data, progress=bars)
        options = {"seed": resolved.seed, "accelerator": accelerator, "progress": bars}
        with tracking_of(resolved.track, out, accelerator) as tracking:
            options["on_rows"] = tracking.on_rows
            train(splits, resolved.views, resolved.student, teacher, out, **options)
            tracking.on_stage("student", out)
    console.print(f"model: {out / 'model.safetensors'}", soft_wrap=True)


def views(
    recipe: RecipeName,
    /,
    *,
    out: Path,
    seed: Whole = None,
    data: DataSet = None,
    data_root: Folder = None,
    skip_bad_images: Switch = False,
    changes: Changes = (),
) -> None:
    """Draw a sheet of clean and noisy views, for inspection before training.

    Args:
        recipe: A shipped recipe or a TOML file.
        out: PNG file to write.
        seed: Overrides the seed of the recipe.
        data: Data set: a folder with CLASS/* or train/CLASS/*, or another value of data.name.
        data_root: Folder that contains the data set.
        skip_bad_images: Skip files of a folder that cannot be decoded, and list them.
        changes: Change an option, e.g. --set views.noise='[{kind="randaugment"}]'.
    """
    from ruggedize.data import load_splits
    from ruggedize.recipe import load_recipe
    from ruggedize.views import save_view_sheet

    given = with_options(changes, seed, data, data_root, skip_bad_images)
    resolved = load_recipe(recipe, given)
    with Bars() as bars:
        splits = load_splits(resolved.data, progress=bars)
    save_view_sheet(splits.train, resolved.views, resolved.seed, out)
    console.print(f"views: {out}", soft_wrap=True)


def recipes() -> None:
    """List the shipped recipes."""
    from ruggedize.recipe import shipped_recipes

    rows = [[name, header] for name, header in shipped_recipes().items()]
    console.print(table("recipes", ["name", "what it does"], rows, num_texts=2))


def start_accelerator() -> "Accelerator":
    """Return the accelerator; mute the console of all processes but the main one."""
    from ruggedize.train import default_accelerator

    accelerator = default_accelerator()
    console.quiet = not accelerator.is_main_process
    return accelerator


def choice_for(out: Path, network: str | None = None) -> "ModelChoice":
    """Return a choice of the network for a training that may have begun in `out`.

    It is that of the training, else `network`, the teacher's, else one chosen by measured speed.
    """

    def choose(workload: "Workload") -> str:
        from ruggedize.train import network_in

        known = network_in(out) or network
        return known if known in workload.candidates else choice_of_model(workload)

    return choose


def choice_of_model(workload: "Workload") -> str:
    """Return a network chosen by measured speed; torch is imported only if one has to be chosen."""
    from ruggedize.train import measured_choice

    return measured_choice(workload)


def with_options(
    changes: tuple[str, ...],
    seed: int | None,
    data: str | None,
    data_root: Path | None,
    skip_bad_images: bool,
    track: str | None = None,
) -> tuple[str, ...]:
    """Return the changes of the command line with those that have an option of their own."""
    from_options = [] if seed is None else [f"seed={seed}"]
    if data is not None:
        from_options.append(f"data.name={toml_string(data)}")
    if data_root is not None:
        from_options.append(f"data.root={toml_string(str(data_root))}")
    if skip_bad_images:
        from_options.append("data.skip_bad_images=true")
    if track is not None:
        from_options.append(f"track={json.dumps([name.strip() for name in track.split(',')])}")
    return (*changes, *from_options)
