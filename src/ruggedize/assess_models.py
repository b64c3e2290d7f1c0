"""Assess models by the names that the command line takes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from ruggedize.assess import (
    GENERATED,
    AssessmentFacts,
    AssessOptions,
    assess,
    load_assessment,
    save_assessment,
)
from ruggedize.core import files
from ruggedize.core.errors import UserError
from ruggedize.core.progress import Progress, no_progress
from ruggedize.corruptions import Preset, reject_idle_options
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
)
from ruggedize.named_models import loaded_models, named_models
from ruggedize.pipeline import suite_for
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
    preset: Preset | Literal["auto"] | None = None,
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
        preset: constants of the generated corruptions; by default the run's, else the options'.
        corruption_options: of generated corruptions, over the run's or those of the options.
        progress: called as images are assessed.

    Raises:
        UserError: a model or the data is missing, sizes or classes differ, an option has no effect,
            or `out` cannot be written.
    """
    given = corruption_options or {}
    how = {"--seed": seed, "--preset": preset, "--option": given or None}
    reject_arguments(out, options, how, given)
    accelerator = default_accelerator()
    named = named_models(places)
    models = loaded_models(named, foreign, accelerator.device)
    folders = [Path(place) for place in places if kind_of(str(place)) is None]
    recipe = earlier_recipe(folders)
    data = loaded_data(models, folders, data_options, recipe, progress)
    options = generated_as(options, recipe.assess if recipe else options, preset, given)
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
    how: dict[str, object],
    corruption_options: Mapping[str, Mapping[str, str]],
) -> None:
    """Raise UserError for a place that cannot be written, and for options without an effect."""
    reject_impossible_place(out)
    if options.suite != GENERATED:
        reject_how_to_generate(options.suite, how)
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


def generated_as(
    options: AssessOptions,
    below: AssessOptions,
    preset: Preset | Literal["auto"] | None,
    given: Mapping[str, Mapping[str, str]],
) -> AssessOptions:
    """Return the options with what is given for generated corruptions, else that of `below`."""
    default = below.preset if options.suite == GENERATED else "auto"
    how = overlaid(below.corruption_options, given)
    return options.model_copy(update={"preset": preset or default, "corruption_options": how})


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


def reject_how_to_generate(suite: str, given: dict[str, object]) -> None:
    """Raise UserError for options of generated corruptions with a stored suite."""
    for name, value in given.items():
        if value is not None:
            raise UserError(
                f"{name} says how corruptions are generated, and the suite {suite} is there "
                "already; leave it out"
            )


def earlier_recipe(places: Sequence[Path]) -> Recipe | None:
    """Load the recipe of the first run folder among these; None if no folder holds one.

    Data that is no longer where the run found it is looked up as if the recipe named no folder.
    """
    for place in places:
        if (place / "recipe.toml").exists():
            recipe = load_recipe(place / "recipe.toml")
            if recipe.data.root is None or recipe.data.root.is_dir():
                return recipe
            without = recipe.data.model_copy(update={"root": None})
            return recipe.model_copy(update={"data": without})
    return None
