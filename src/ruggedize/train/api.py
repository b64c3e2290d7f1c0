"""Public training functions: `train_teacher`, `train_student` and `train_stage`."""

import copy
import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from accelerate import Accelerator

from ruggedize.core import seeding
from ruggedize.core.errors import UserError
from ruggedize.core.files import sha256
from ruggedize.core.places import user_path
from ruggedize.core.progress import OnRows, Progress, no_metrics, no_progress
from ruggedize.data import ImageSet, Splits
from ruggedize.models import (
    Classifier,
    CustomModel,
    load_model,
    num_parameters,
    packed_model,
)
from ruggedize.train.delivery import MODEL
from ruggedize.train.distributed import (
    default_accelerator,
    naming_lost_processes,
    training_precision,
)
from ruggedize.train.fine_tuning.start import fresh_model, load_start
from ruggedize.train.loop import fit
from ruggedize.train.objectives.losses import balanced_class_weights
from ruggedize.train.objectives.objective import (
    LABELLED,
    UNLABELLED,
    Context,
    Objective,
    make_objective,
)
from ruggedize.train.options import StudentOptions, TrainingOptions
from ruggedize.train.preflight import check_stage
from ruggedize.train.stage import Stage
from ruggedize.views import ViewMaker, ViewOptions, choose_partners


def train_teacher(  # noqa: PLR0913
    data: Splits,
    views: ViewOptions,
    options: TrainingOptions,
    out: Path | str,
    *,
    seed: int = 0,
    accelerator: Accelerator | None = None,
    progress: Progress = no_progress,
    on_rows: OnRows = no_metrics,
) -> Classifier:
    """Train a classifier on clean views; resume an earlier, interrupted call with the same `out`.

    Args:
        data: training and validation split (the test split is not touched).
        views: flips, sizes and crops of the clean view; its noise is not used.
        options: network, optimiser, schedule, averaging and the other training options.
        out: folder for `model.safetensors`, `initial.safetensors`, `metrics.jsonl` and `state/`.
        seed: fixes initial weights, order and views.
        accelerator: the processes and the device; by default what Accelerate finds.
        progress: `progress(task, done, total)` is called after every step.
        on_rows: `on_rows(stage, rows)` is called with the rows of `metrics.jsonl` after an epoch.
    """
    return train_stage(
        "teacher",
        data,
        views,
        options,
        out,
        seed=seed,
        accelerator=accelerator,
        progress=progress,
        on_rows=on_rows,
    )


def train_student(  # noqa: PLR0913
    data: Splits,
    views: ViewOptions,
    options: StudentOptions,
    teacher: Path | str,
    out: Path | str,
    *,
    seed: int = 0,
    accelerator: Accelerator | None = None,
    progress: Progress = no_progress,
    on_rows: OnRows = no_metrics,
) -> Classifier:
    """Train a student on noisy views to agree with its teacher and with the labels.

    Args:
        data: training and validation split (the test split is not touched).
        views: the clean view (for the teacher) and the noise added to it (for the student).
        options: the training options, with the consistency objective by default.
        teacher: the teacher's `model.safetensors`.
        out: folder for `model.safetensors`, `initial.safetensors`, `metrics.jsonl` and `state/`.
        seed: fixes initial weights, order and views.
        accelerator: the processes and the device; by default what Accelerate finds.
        progress: `progress(task, done, total)` is called after every step.
        on_rows: `on_rows(stage, rows)` is called with the rows of `metrics.jsonl` after an epoch.
    """
    return train_stage(
        "student",
        data,
        views,
        options,
        out,
        teachers={"teacher": teacher},
        start=teacher if options.start == "teacher" else None,
        seed=seed,
        accelerator=accelerator,
        progress=progress,
        on_rows=on_rows,
    )


@naming_lost_processes()
def train_stage(  # noqa: PLR0913
    name: str,
    data: Splits,
    views: ViewOptions,
    options: TrainingOptions,
    out: Path | str,
    *,
    teachers: Mapping[str, Path | str | Classifier] | None = None,
    start: Path | str | None = None,
    seed: int = 0,
    accelerator: Accelerator | None = None,
    progress: Progress = no_progress,
    on_rows: OnRows = no_metrics,
) -> Classifier:
    """Train one stage of a run; resume an earlier, interrupted call with the same `out`.

    The other arguments are those of `train_student`.

    Args:
        name: name of the stage; its random draws depend on it.
        data: training and validation images, and unlabelled ones if the objective uses them.
        options: network, objective, optimiser, schedule, averaging and the other options.
        teachers: model files or classifiers that the objective learns from, by stage name.
        start: model file of the stage that `options.start` names.

    Raises:
        UserError: the preflight check failed; nothing has been written.
    """
    folder, accelerator = user_path(out), accelerator or default_accelerator()
    given = teachers or {}
    check_stage(name, options, data, views, accelerator)
    model = fresh_model(data, views, options, seed, name)
    started = load_start(name, model, options, start)
    frozen = {s: frozen_teacher(t, model, options, accelerator.device) for s, t in given.items()}
    weights = balanced_class_weights(data.train) if options.class_weights == "balanced" else None
    context = Context(
        name=name,
        model=model,
        maker=replace(
            view_maker(views, data.train.image_size, seed, name),
            partners=choose_partners(data.train, views, seed),
        ),
        views=options.views,
        teachers=frozen,
        train=data.train,
        unlabelled=data.unlabelled,
        starts_trained=started is not None,
        precision=training_precision(options, folder, accelerator),
        accelerator=accelerator,
        progress=progress,
        class_weights=None if weights is None else weights.to(accelerator.device),
    )
    stage = planned(context, data, views, options, seed, folder)
    parents = {source: hash_of_model(teacher) for source, teacher in given.items()}
    fit(replace(stage, parents=parents, start=started, on_rows=on_rows))
    return load_trained(folder / MODEL, options, len(data.train.classes))


def planned(
    context: Context,
    data: Splits,
    views: ViewOptions,
    options: TrainingOptions,
    seed: int,
    folder: Path,
) -> Stage:
    """Build the stage for the training loop."""
    assert isinstance(context.model, Classifier)
    objective = make_objective(options.objective, context)
    return Stage(
        name=context.name,
        model=context.model,
        objective=objective,
        refresher=replace(
            view_maker(views, data.train.image_size, seed, f"{context.name}/refresh"),
            partners=context.maker.partners,
        ),
        sources=sources_for(context.name, objective, data),
        validation=data.validation,
        data=data.digest and data.digest.for_training(),
        options=options,
        views=views,
        seed=seed,
        precision=context.precision,
        folder=folder,
        parents={},
        accelerator=context.accelerator,
        progress=context.progress,
    )


def load_trained(path: Path, options: TrainingOptions, num_classes: int) -> Classifier:
    """Load the model delivered by a training with these options."""
    model = options.model
    network = model.layout(num_classes) if isinstance(model, CustomModel) else None
    return load_model(path, network=network)


def sources_for(name: str, objective: Objective, data: Splits) -> dict[str, ImageSet]:
    """Return the images of every source that the objective uses.

    Raises:
        UserError: the objective needs unlabelled images, and there are none.
    """
    available = {LABELLED: data.train}
    if data.unlabelled is not None:
        available[UNLABELLED] = data.unlabelled
    for source in objective.sources:
        if source not in available:
            raise UserError(
                f"{name}: the objective needs {source} images, but the data has none;\n"
                "add some or choose another objective"
            )
    return {source: available[source] for source in objective.sources}


def view_maker(views: ViewOptions, image_size: int, seed: int, purpose: str) -> ViewMaker:
    """Return a view maker whose random draws are keyed by seed and purpose."""
    return ViewMaker(views, image_size=image_size, seed=int(seeding.stream_key(seed, purpose)))


def hash_of_model(model: Path | str | Classifier) -> str:
    """Return the SHA-256 of a model file, or of the file that a classifier would be saved to."""
    if isinstance(model, Classifier):
        return hashlib.sha256(packed_model(model)).hexdigest()
    return sha256(user_path(model))


def frozen_teacher(
    given: Path | str | Classifier,
    student: Classifier,
    options: TrainingOptions,
    device: torch.device,
) -> Classifier:
    """Return the teacher in eval mode without gradients: loaded from its file, or a copy.

    Raises:
        UserError: its classes, input size or number of parameters do not fit the student.
    """
    is_file = not isinstance(given, Classifier)
    teacher = load_model(given, classes=student.classes) if is_file else copy.deepcopy(given)
    name = given if is_file else "the teacher"
    if teacher.input_size != student.input_size:
        raise UserError(
            f"{name} takes images of {teacher.input_size} pixels, but the student's views have "
            f"{student.input_size};\nuse the same views.resize and views.crop for both"
        )
    if not (isinstance(options, StudentOptions) and options.allow_smaller_student):
        reject_smaller(teacher=num_parameters(teacher), student=num_parameters(student))
    layout = torch.channels_last if options.channels_last else torch.contiguous_format
    teacher.to(device=device, memory_format=layout)  # pyright: ignore
    return teacher.eval().requires_grad_(False)


def reject_smaller(*, teacher: int, student: int) -> None:
    """Raise UserError if the student has fewer parameters than its teacher."""
    if student < teacher:
        raise UserError(
            f"the student has {student:,} parameters, fewer than its teacher's {teacher:,};\n"
            "choose a larger student.model or set student.allow_smaller_student = true"
        )
