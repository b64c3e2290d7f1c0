"""Assess models that lie on disk: of run folders, or files."""

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
from ruggedize.data import DataDigest, DataOptions, load_splits
from ruggedize.models import Classifier, load_model
from ruggedize.pipeline import NAMES, models_of, suite_for
from ruggedize.recipe import Recipe, load_recipe
from ruggedize.train import default_accelerator
from ruggedize.views import overlaps


def assess_files(  # noqa: PLR0913
    places: Sequence[Path],
    out: Path,
    data_options: DataOptions | None,
    options: AssessOptions,
    *,
    seed: int | None = None,
    preset: Preset | Literal["auto"] | None = None,
    corruption_options: Mapping[str, Mapping[str, str]] | None = None,
    progress: Progress = no_progress,
) -> None:
    """Assess models on disk and write the assessment, with its predictions beside it.

    What is not given is taken from the recipe of the first run folder.

    Args:
        places: run folders (their teacher and student) or model files; the first model is the
            baseline of all comparisons.
        out: the assessment, a `.json` file.
        data_options: the data; by default the run's.
        options: which cells, how many images, which precision.
        seed: of the generated corruptions' draws; by default the run's, else 0.
        preset: constants of the generated corruptions; by default the run's, else the options'.
        corruption_options: of generated corruptions, over the run's, or else over those of the
            options.
        progress: called as images are assessed.

    Raises:
        UserError: a model or the data is missing, sizes or classes differ, an option has no effect,
            or `out` cannot be written.
    """
    reject_impossible_place(out)
    given = corruption_options or {}
    if options.suite != GENERATED:
        reject_how_to_generate(
            options.suite, {"--seed": seed, "--preset": preset, "--option": given or None}
        )
    reject_idle_options(given, options.corruptions)
    models = loaded_models(places)
    recipe = earlier_recipe(places)
    wanted = data_options or (recipe.data if recipe else None)
    if wanted is None:
        raise UserError("which data? give --data NAME, or a run folder that holds a recipe.toml")
    first = next(iter(models.values()))
    kept: dict[str, object] = {"image_size": first.image_size, "fit": first.fit}
    data = load_splits(wanted.model_copy(update=kept), progress=progress)
    if data_options is None:
        check_same_data(places, data.digest)
    below = recipe.assess if recipe else options
    options = generated_as(options, below, preset, given)
    if seed is None:
        seed = recipe.seed if recipe else 0
    suite = suite_for(options, data.test, wanted.root, seed)
    facts = AssessmentFacts(
        left_out=data.left_out,
        overlaps=overlaps(recipe.views.noise, suite.corruptions) if recipe else None,
        data=data.digest,
    )
    result = assess(models, data.test, suite, options, progress=progress)
    save_assessment(result, out, facts)


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
    """Raise UserError if the data of a run has changed since it was assessed.

    Without a test folder the test images are split off the training images: from others when files
    are added or removed, so that images that were trained on would be assessed on.
    """
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


def loaded_models(places: Sequence[Path]) -> dict[str, Classifier]:
    """Load the models by name, onto the device.

    Raises:
        UserError: a model is missing or damaged, or their image sizes differ.
    """
    device = default_accelerator().device
    models = {name: load_model(path).to(device) for name, path in model_files(places).items()}
    sizes = {model.image_size for model in models.values()}
    if len(sizes) > 1:
        raise UserError(
            f"these models take stored images of {', '.join(map(str, sorted(sizes)))} pixels;\n"
            "assess models of one size at a time"
        )
    return models


def reject_how_to_generate(suite: str, given: dict[str, object]) -> None:
    """Reject to say how a suite is made that is there already."""
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


def named(file: Path) -> str:
    """Name a model: `student/model.safetensors` is student."""
    return file.resolve().parent.name if file.stem == "model" else file.stem


def earlier_recipe(places: Sequence[Path]) -> Recipe | None:
    """Load the recipe of the first run folder among these; None if no folder holds one."""
    for place in places:
        if (place / "recipe.toml").exists():
            return load_recipe(place / "recipe.toml")
    return None
