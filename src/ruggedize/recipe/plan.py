"""How the stages of a run depend on each other: models, teachers and starts, with checks."""

from pathlib import Path

from ruggedize.models import meta_model, num_parameters, read_model_file, reject_other_network
from ruggedize.recipe.recipe import Recipe
from ruggedize.train import (
    PROBED,
    InterpolationOptions,
    StudentOptions,
    names_stage,
    reject_smaller,
)

INITIAL, MODEL = "initial.safetensors", "model.safetensors"


def models_of(folder: Path, recipe: Recipe) -> dict[str, Path]:
    """Return the model files of a run by stage, starting with stages that have no teacher.

    The first model is the baseline of all comparisons, the last is the main result.
    """
    untaught = [name for name in recipe.all_stages if teacher_of(recipe, name) is None]
    taught = [name for name in recipe.all_stages if name not in untaught]
    return {name: folder / name / MODEL for name in (*untaught, *taught)}


def teacher_of(recipe: Recipe, name: str) -> str | None:
    """Return the stage that a stage, or the end of an interpolation, learns from, or None."""
    options = recipe.training_of(name)
    if isinstance(options, StudentOptions) and options.objective.uses_teacher:
        return options.learns_from
    return None


def start_of(folder: Path, options: InterpolationOptions, recipe: Recipe) -> Path:
    """Return the model file at the start of an interpolation.

    By default it is what the training of all layers at its end began with.
    """
    start, end = options.start, options.interpolate
    if start is None:
        has_probe = recipe.training_of(end).probe_epochs > 0
        return folder / end / (PROBED if has_probe else INITIAL)
    return folder / start / MODEL if names_stage(start) else Path(start).expanduser()


def check_networks(recipe: Recipe, num_classes: int, input_size: int) -> None:
    """Raise UserError for a start with another network, or a student smaller than its teacher."""
    stages = recipe.all_stages
    networks = {
        name: meta_model(recipe.training_of(name).model, num_classes, input_size) for name in stages
    }
    for name, options in stages.items():
        start, network = options.start, networks[name]
        origin = f"{name}.start: {start}"
        if start in networks:
            source = networks[start].state_dict()
            reject_other_network(source, network, origin, keep_head=True)
        elif start is not None and isinstance(options, InterpolationOptions):
            weights = read_model_file(Path(start).expanduser())[1]
            reject_other_network(weights, network, origin, keep_head=True)
    sizes = {name: num_parameters(network) for name, network in networks.items()}
    for name, options in stages.items():
        teacher = teacher_of(recipe, name)
        if teacher and isinstance(options, StudentOptions) and not options.allow_smaller_student:
            reject_smaller(teacher=sizes[teacher], student=sizes[name])
