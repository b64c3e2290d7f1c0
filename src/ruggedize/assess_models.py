"""Assess models by the names that the command line takes."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from ruggedize.assess import (
    AssessmentFacts,
    AssessOptions,
    assess,
    load_assessment,
    save_assessment,
)
from ruggedize.core import files
from ruggedize.core.errors import UserError
from ruggedize.core.progress import Progress, no_progress
from ruggedize.corruptions import reject_idle_options
from ruggedize.data import (
    DataDigest,
    DataOptions,
    Fit,
    TestImages,
    load_splits,
    load_test_images,
)
from ruggedize.models import (
    Classifier,
    ForeignOptions,
    Predictor,
    kind_of,
    load_foreign,
    load_model,
)
from ruggedize.pipeline import GENERATED, NAMES, models_of, suite_for
from ruggedize.recipe import Recipe, load_recipe
from ruggedize.train import default_accelerator, naming_lost_processes
from ruggedize.views import overlaps

NO_FOREIGN = ForeignOptions()


@naming_lost_processes()
def assess_files(  # noqa: PLR0913
    places: Sequence[Path | str],
    out: Path,
    data_options: DataOptions | None,
    options: AssessOptions,
    *,
    foreign: ForeignOptions = NO_FOREIGN,
    seed: int | None = None,
    corruption_options: Mapping[str, Mapping[str, str]] | None = None,
    progress: Progress = no_progress,
) -> bool:
    """Assess models and write the assessment, with its predictions beside it.

    Several processes share the images; the first one writes, and is told that it did. What is not
    given is taken from the recipe of the first run folder.

    Args:
        places: run folders (their teacher and student), model files, `timm/NAME`, `hf:ORG/NAME`,
            ONNX files or `package.module:function`; the first model is the baseline of all
            comparisons.
        out: the assessment, a `.json` file.
        data_options: the data; by default the run's, at our models' size or 224 pixels.
        options: which cells, how many images, which precision.
        foreign: what is said of models that ruggedize did not write.
        seed: of the generated corruptions' draws; by default the run's, else 0.
        corruption_options: of generated corruptions, over the run's or those of the options.
        progress: called as images are assessed.

    Raises:
        UserError: a model or the data is missing, sizes or classes differ, an option has no effect,
            or `out` cannot be written.
    """
    given = corruption_options or {}
    reject_arguments(out, options, seed, given)
    accelerator = default_accelerator()
    named = named_models(places)
    models = loaded_models(named, foreign, accelerator.device)
    folders = [Path(place) for place in places if kind_of(str(place)) is None]
    recipe = earlier_recipe(folders)
    data = loaded_data(models, folders, data_options, recipe, progress)
    below = (recipe.assess if recipe else options).corruption_options
    options = options.model_copy(update={"corruption_options": overlaid(below, given)})
    if seed is None:
        seed = recipe.seed if recipe else 0
    root = (data_options or (recipe and recipe.data) or DataOptions(name="")).root
    suite = suite_for(options, data.images, root, seed)
    facts = AssessmentFacts(
        left_out=data.left_out,
        overlaps=overlaps(recipe.views.noise, suite.corruptions) if recipe else None,
        sources={name: str(place) for name, place in named.items()},
        data=data.digest,
    )
    result = assess(models, data.images, suite, options, accelerator=accelerator, progress=progress)
    if accelerator.is_main_process:
        save_assessment(result, out, facts)
    return accelerator.is_main_process


def reject_arguments(
    out: Path,
    options: AssessOptions,
    seed: int | None,
    corruption_options: Mapping[str, Mapping[str, str]],
) -> None:
    """Raise UserError for a place that cannot be written, and for options without an effect."""
    reject_impossible_place(out)
    if options.suite != GENERATED:
        given = {"--seed": seed, "--option": corruption_options or None}
        reject_how_to_generate(options.suite, given)
    reject_idle_options(corruption_options, options.corruptions)


def loaded_data(
    models: Mapping[str, Classifier | Predictor],
    folders: Sequence[Path],
    given: DataOptions | None,
    recipe: Recipe | None,
    progress: Progress,
) -> TestImages:
    """Load the images to assess on, at the size at which our models take them.

    Where one of the models lies in a folder of ours they are the test images of the run's split:
    models of ours may have been trained on the others.
    """
    wanted = given or (recipe.data if recipe else None)
    if wanted is None:
        raise UserError("which data? give --data NAME, or a run folder that holds a recipe.toml")
    size = stored_size(models, None if given is None else given.image_size)
    if given is None or size is not None:
        wanted = wanted.model_copy(update={"image_size": size})
    fits: set[Fit] = {model.fit for model in models.values() if isinstance(model, Classifier)}
    if fits:
        wanted = wanted.model_copy(update={"fit": only_fit(fits)})
    if not folders:
        return load_test_images(wanted, progress)
    data = load_splits(wanted, progress=progress)
    if given is None:
        check_same_data(folders, data.digest)
    return TestImages(data.test, data.digest, data.left_out)


def only_fit(fits: set[Fit]) -> Fit:
    """Return how images are made square, which must be the same for all models."""
    if len(fits) > 1:
        raise UserError(
            f"these models were trained on images made square by {' and '.join(sorted(fits))};\n"
            "assess models of one data.fit at a time"
        )
    return next(iter(fits))


def stored_size(models: Mapping[str, Classifier | Predictor], given: int | None) -> int | None:
    """Return the side of stored images: that of the models that were made for one.

    Raises:
        UserError: they were made for several, or for another one than is given.
    """
    sizes = {model.image_size for model in models.values() if model.image_size is not None}
    if len(sizes) > 1:
        raise UserError(
            f"these models take stored images of {', '.join(map(str, sorted(sizes)))} pixels;\n"
            "assess models of one size at a time"
        )
    own = next(iter(sizes), None)
    if given is not None and own is not None and given != own:
        raise UserError(
            f"--image-size is {given}, and these models take stored images of {own} pixels;\n"
            "leave it out"
        )
    return own or given


def check_same_data(places: Sequence[Path], now: DataDigest | None) -> None:
    """Raise UserError if the data of a run has changed since: other images would be its test."""
    for place in places:
        path = place / "assessment.json"
        then = load_assessment(path).facts.data if path.is_file() else None
        if then and now:
            then.check_unchanged(now, f"the run in {place}")


def overlaid(
    below: Mapping[str, Mapping[str, str]], over: Mapping[str, Mapping[str, str]]
) -> dict[str, dict[str, str]]:
    """Return the options of all corruptions, those of `over` first."""
    names = [*below, *(name for name in over if name not in below)]
    return {name: {**below.get(name, {}), **over.get(name, {})} for name in names}


def reject_impossible_place(out: Path) -> None:
    """Raise a UserError if the assessment cannot be written there, or would replace a run's own."""
    if out.suffix != ".json":
        raise UserError(f"an assessment is a .json file, got --out {out}; name it {out}.json")
    files.reject_unwritable_file(out)
    if out.name == "assessment.json" and (out.parent / "recipe.toml").exists():
        raise UserError(
            f"{out} is the run's own, made as its recipe says;\n"
            "give another file with --out (or delete it, and `ruggedize run` makes it again)"
        )


def loaded_models(
    named: Mapping[str, Path | str], foreign: ForeignOptions, device: torch.device
) -> dict[str, Classifier | Predictor]:
    """Load the models, onto the device.

    Raises:
        UserError: a model is missing or damaged, or an option has no effect on any.
    """
    others = load_foreign(
        [each for each in named.values() if isinstance(each, str)], foreign, device
    )
    return {
        name: others[place] if isinstance(place, str) else load_model(place).to(device)
        for name, place in named.items()
    }


def reject_how_to_generate(suite: str, given: dict[str, object]) -> None:
    """Raise UserError for options of generated corruptions with a stored suite."""
    for name, value in given.items():
        if value is not None:
            raise UserError(
                f"{name} says how corruptions are generated, and the suite {suite} is there "
                "already; leave it out"
            )


def named_models(places: Sequence[Path | str]) -> dict[str, Path | str]:
    """Name the models: our files (a run's teacher and student), and what others are called by.

    A name is that of a file's folder or of the model, or a longer one where that is unclear.
    """
    found: list[Path | str] = []
    for place in places:
        found += [str(place)] if kind_of(str(place)) else models_at(Path(place))
    if not found:
        raise UserError("there is no model to assess; give a run folder or a model.safetensors")
    short = [named(model) for model in found]
    if len(set(short)) == len(short):
        return dict(zip(short, found, strict=True))
    long = [long_name(model) for model in found]
    if len(set(long)) < len(long):
        raise UserError(
            f"these models cannot be told apart by name: {', '.join(long)};\n"
            "rename their run folders, or assess them one by one"
        )
    return dict(zip(long, found, strict=True))


def models_at(place: Path) -> list[Path]:
    """Return a run folder's two models, or the file itself."""
    if not place.is_dir():
        if not place.suffix:
            files.reject_missing_run(place)
        return [place]
    written = place / "recipe.toml"
    models = [place / name / "model.safetensors" for name in NAMES]
    if written.exists():
        models = [*models_of(place, load_recipe(written)).values()]
    found = [file for file in models if file.exists()]
    if not found:
        raise UserError(f"{place} holds no teacher/ or student/model.safetensors; run it first")
    return found


def named(model: Path | str) -> str:
    """Name a model: `student/model.safetensors` is student, `timm/resnet18` is resnet18."""
    if isinstance(model, Path):
        return model.resolve().parent.name if model.stem == "model" else model.stem
    if kind_of(model) == "onnx":
        return Path(model).stem
    last = re.split("[/:]", model.partition("@")[0])[-1]
    return safe(last)


def long_name(model: Path | str) -> str:
    """Name a model by more than its last part."""
    if isinstance(model, str):
        return safe(model)
    return f"{model.resolve().parent.parent.name}-{named(model)}"


def safe(name: str) -> str:
    """Return a name that can be a file's."""
    return re.sub(r"[^\w.+-]+", "-", name).strip("-.")


def earlier_recipe(places: Sequence[Path]) -> Recipe | None:
    """Load the recipe of the first run folder among these; None if no folder holds one."""
    for place in places:
        if (place / "recipe.toml").exists():
            return load_recipe(place / "recipe.toml")
    return None
