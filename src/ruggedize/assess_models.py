"""Assess models that are named as on the command line."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from ruggedize.assess import (
    GENERATED,
    AssessmentFacts,
    AssessmentResult,
    AssessOptions,
    assess,
    examples_folder,
    load_assessment,
    save_assessment,
    save_examples,
    suite_for,
    training_doubt,
)
from ruggedize.core import files
from ruggedize.core.errors import UserError, shown
from ruggedize.core.progress import Progress, no_progress
from ruggedize.corruptions import Preset, Suite, reject_idle_options
from ruggedize.data import (
    DataDigest,
    DataOptions,
    Fit,
    ImageSet,
    TestImages,
    has_only_test_images,
    load_splits,
    load_test_images,
)
from ruggedize.models import (
    Classifier,
    ForeignOptions,
    Predictor,
    kind_of,
)
from ruggedize.named_models import earlier_recipe, loaded_models, named_models
from ruggedize.recipe import Recipe
from ruggedize.train import default_accelerator, naming_lost_processes
from ruggedize.views import overlaps

log = logging.getLogger(__name__)
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
    """Assess models; write the assessment and, next to it, predictions and example pictures.

    The same call continues a stopped assessment. Several processes share the images; the first one
    writes the files and returns True, the others return False. Defaults come from the recipe of
    the first run folder.

    Args:
        places: run folders (their teacher and student), model files, `timm/NAME`, `hf:ORG/NAME`,
            ONNX files or `package.module:function`; the first model is the baseline of all
            comparisons.
        out: the `.json` file to write.
        data_options: the data; default: that of the run. The default image size is that of our own
            models, else 224 pixels.
        options: cells, number of images and precision.
        foreign: how models that ruggedize did not train take images and return scores.
        seed: seed of generated corruptions; default: the run's, else 0.
        preset: constants of generated corruptions; default: the run's, else that of `options`.
        corruption_options: options of generated corruptions; they override those of the run, or of
            `options`.
        progress: called as progress(task, done, total) after every block of images.

    Raises:
        UserError: a model or the data is missing, image sizes or classes do not match, an option
            has no effect, or `out` cannot be written.
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
    callbacks = {"accelerator": accelerator, "progress": progress}
    if out.exists() and accelerator.is_main_process:
        log.warning("%s exists; this assessment replaces it when it is finished", shown(out))
    result = assess(models, data.images, suite, options, resume_for=out, **callbacks)
    if accelerator.is_main_process:
        facts = facts_of(named, data, suite)
        save_with_pictures(result, data.images, suite, out, facts)
    return accelerator.is_main_process


def facts_of(named: Mapping[str, Path | str], data: TestImages, suite: Suite) -> AssessmentFacts:
    """Return the provenance of an assessment; its example pictures are added later."""
    return AssessmentFacts(
        left_out=data.left_out,
        overlaps=common_overlaps(named, suite),
        sources={name: str(place) for name, place in named.items()},
        held_out=models_that_left_out(named, data.digest),
        data=data.digest,
    )


def common_overlaps(
    named: Mapping[str, Path | str], suite: Suite
) -> dict[str, tuple[str, ...]] | None:
    """Return which corruptions the training noise overlaps, if it is the same for all models.

    None if it is not, or if a model belongs to no run, so that its noise is unknown.
    """
    folders = [None if isinstance(place, str) else place.parent.parent for place in named.values()]
    recipes = [None if folder is None else earlier_recipe([folder]) for folder in folders]
    if None in recipes:
        return None
    first, *others = (overlaps(each.views.noise, suite.corruptions) for each in recipes if each)
    return first if all(each == first for each in others) else None


def models_that_left_out(
    named: Mapping[str, Path | str], now: DataDigest | None
) -> tuple[str, ...]:
    """Return the models whose run has these images as its own test images.

    A run does not train on its test images, and its assessment records which ones they are.
    """
    found = []
    for name, place in named.items():
        if now is None or isinstance(place, str):
            continue
        path = place.parent.parent / "assessment.json"
        then = load_assessment(path).facts.data if path.is_file() else None
        if then is not None and then.same_test_images(now):
            found.append(name)
    return tuple(found)


def save_with_pictures(
    result: AssessmentResult, images: ImageSet, suite: Suite, out: Path, facts: AssessmentFacts
) -> None:
    """Save an assessment, and pictures that show mistakes, beside it.

    Logs under which condition the figures hold, if the images may be those of a training.
    """
    pictures = save_examples(result, images, suite, examples_folder(out))
    facts = facts.model_copy(update={"examples": tuple(path.name for path in pictures)})
    save_assessment(result, out, facts)
    level = logging.WARNING if facts.data and facts.data.is_whole_folder else logging.INFO
    if doubt := training_doubt(result.assessment.model_copy(update={"facts": facts})):
        log.log(level, "%s", doubt)


def reject_arguments(
    out: Path,
    options: AssessOptions,
    how: dict[str, object],
    corruption_options: Mapping[str, Mapping[str, str]],
) -> None:
    """Raise UserError if `out` cannot be written or an option has no effect."""
    reject_impossible_place(out)
    if isinstance(seed := how["--seed"], int) and seed < 0:
        raise UserError(f"--seed must be 0 or more, got {seed};\nset another seed")
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
    """Load the images to assess on, at the stored size that our models were trained on.

    If a model comes from a run folder, only the test split is loaded: the model may have been
    trained on the other images. Of a given folder without `train`, all test images are loaded.
    """
    wanted = given or (recipe.data if recipe else None)
    if wanted is None:
        raise UserError(
            "no data was given;\ngive --data NAME, or a run folder that contains a recipe.toml"
        )
    size = stored_size(models, None if given is None else given.image_size)
    if given is None or size is not None:
        wanted = wanted.model_copy(update={"image_size": size})
    fits: set[Fit] = {model.fit for model in models.values() if model.fit is not None}
    if fits:
        wanted = wanted.model_copy(update={"fit": only_fit(fits)})
    if not folders or (given is not None and has_only_test_images(wanted)):
        return load_test_images(wanted, progress)
    data = load_splits(wanted, progress=progress)
    if given is None:
        check_same_data(folders, data.digest)
    return TestImages(data.test, data.digest, data.left_out)


def only_fit(fits: set[Fit]) -> Fit:
    """Return how images are made square; raise UserError if the models differ in it."""
    if len(fits) > 1:
        raise UserError(
            f"data.fit must be the same for all models, got {' and '.join(sorted(fits))};\n"
            "assess these models separately"
        )
    return next(iter(fits))


def stored_size(models: Mapping[str, Classifier | Predictor], given: int | None) -> int | None:
    """Return the stored image size in pixels: the one that models were trained on, else `given`.

    Raises:
        UserError: the models were trained on different sizes, or on another one than `given`.
    """
    sizes = {model.image_size for model in models.values() if model.image_size is not None}
    if len(sizes) > 1:
        raise UserError(
            "the stored image size must be the same for all models, got "
            f"{' and '.join(map(str, sorted(sizes)))} pixels;\nassess these models separately"
        )
    own = next(iter(sizes), None)
    if given is not None and own is not None and given != own:
        raise UserError(
            f"--image-size must be {own}, the size of these models, got {given};\nremove it"
        )
    return own or given


def generated_as(
    options: AssessOptions,
    below: AssessOptions,
    preset: Preset | Literal["auto"] | None,
    given: Mapping[str, Mapping[str, str]],
) -> AssessOptions:
    """Return `options` with this preset and these corruption options, else those of `below`."""
    default = below.preset if options.suite == GENERATED else "auto"
    how = overlaid(below.corruption_options, given)
    return options.model_copy(update={"preset": preset or default, "corruption_options": how})


def check_same_data(places: Sequence[Path], now: DataDigest | None) -> None:
    """Raise UserError if the data of a run has changed: its test split may differ now."""
    for place in places:
        path = place / "assessment.json"
        then = load_assessment(path).facts.data if path.is_file() else None
        if then and now:
            then.check_unchanged(now, f"the run in {place}")


def overlaid(
    below: Mapping[str, Mapping[str, str]], over: Mapping[str, Mapping[str, str]]
) -> dict[str, dict[str, str]]:
    """Merge the options of all corruptions; those of `over` take precedence."""
    names = [*below, *(name for name in over if name not in below)]
    return {name: {**below.get(name, {}), **over.get(name, {})} for name in names}


def reject_impossible_place(out: Path) -> None:
    """Raise UserError if `out` cannot be written, or is the run's own assessment."""
    if out.suffix != ".json":
        raise UserError(f"--out must be a .json file, got {out};\nname it {out}.json")
    files.reject_unwritable_file(out)
    if out.name == "assessment.json" and (out.parent / "recipe.toml").exists():
        raise UserError(
            f"{out} is the run's own assessment, which must match its recipe;\n"
            "give another file with --out (or delete this one: `ruggedize run` writes it again)"
        )


def reject_how_to_generate(suite: str, given: dict[str, object]) -> None:
    """Raise UserError if options of generated corruptions are given for a stored suite."""
    for name, value in given.items():
        if value is not None:
            raise UserError(
                f"{name} applies to generated corruptions only, but {suite} is a stored suite;\n"
                f"remove {name}"
            )
