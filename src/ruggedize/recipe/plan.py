"""How the stages of a run depend on each other: their models, teachers, starts and checks."""

from pathlib import Path

from ruggedize.models import meta_model, num_parameters, read_model_file, reject_other_network
from ruggedize.recipe.generations import MODEL, is_skipped
from ruggedize.recipe.merge import CONTROL
from ruggedize.recipe.recipe import Recipe
from ruggedize.train import (
    PROBED,
    InterpolationOptions,
    StageOptions,
    StudentOptions,
    names_stage,
    reject_smaller,
)

INITIAL = "initial.safetensors"


def models_of(folder: Path, recipe: Recipe) -> dict[str, Path]:
    """Return the model files of a run by stage, starting with stages that have no teacher.

    The first model is the baseline of all comparisons, the last is the main result, never the
    control. Stages that the run has skipped are left out.
    """
    stages = [name for name in recipe.all_stages if not is_skipped(folder, name)]
    untaught = [name for name in stages if not teachers_in(recipe, name)]
    untaught.sort(key=lambda name: (name != "teacher", name != CONTROL))
    taught = [name for name in stages if name not in untaught]
    return {name: folder / name / MODEL for name in (*untaught, *taught)}


def teachers_in(recipe: Recipe, name: str) -> tuple[str, ...]:
    """Return the stages that a stage, or the end of an interpolation, learns from."""
    options = recipe.training_of(name)
    return options.teachers if options.objective.uses_teacher else ()


def stages_needed(recipe: Recipe, name: str) -> tuple[str, ...]:
    """Return the stages whose models a stage needs."""
    options = recipe.all_stages[name]
    start = [options.start] if options.start in recipe.all_stages else []
    if isinstance(options, InterpolationOptions):
        return (options.interpolate, *start)
    return (*teachers_in(recipe, name), *start)


def required_gain(recipe: Recipe, name: str) -> tuple[str, str] | None:
    """Return two stages, if a stage is trained only if the first is better than the second."""
    options = recipe.all_stages[name]
    if not (isinstance(options, StageOptions) and options.requires_gain):
        return None
    (teacher,) = options.teachers
    (before,) = teachers_in(recipe, teacher)
    return teacher, before


def start_of(folder: Path, options: InterpolationOptions, recipe: Recipe) -> Path:
    """Return the model file at the start of an interpolation.

    By default these are the weights from which all layers of the network at its end were trained.
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
        if isinstance(options, StudentOptions) and not options.allow_smaller_student:
            for teacher in teachers_in(recipe, name):
                reject_smaller(teacher=sizes[teacher], student=sizes[name])
