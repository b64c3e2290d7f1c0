"""The teacher: supervised training on clean views."""

from pathlib import Path

from accelerate import Accelerator

from ruggedize import seeding
from ruggedize.data import Splits
from ruggedize.models import Classifier, build, load_model
from ruggedize.runs import Progress, UserError, no_progress
from ruggedize.training.beginning import MODEL
from ruggedize.training.job import Job
from ruggedize.training.launching import default_accelerator
from ruggedize.training.loop import fit
from ruggedize.training.memory_need import refuse_too_large
from ruggedize.training.objectives import Pair, supervised
from ruggedize.training.options import TrainingOptions
from ruggedize.training.precision import training_precision
from ruggedize.views import ViewMaker, ViewOptions


def train_teacher(  # noqa: PLR0913
    data: Splits,
    views: ViewOptions,
    options: TrainingOptions,
    out: Path | str,
    *,
    seed: int = 0,
    accelerator: Accelerator | None = None,
    progress: Progress = no_progress,
) -> Classifier:
    """Train a classifier on clean views; goes on where an earlier call in `out` was cut off.

    Args:
        data: training and validation split (the test split is not touched).
        views: the flips, sizes and crops that make a clean view; its noise is not used.
        options: network, optimiser, schedule, averaging, ... of the training.
        out: folder for `model.safetensors`, `initial.safetensors`, `metrics.jsonl` and `state/`.
        seed: fixes initial weights, order and views.
        accelerator: the processes and the device; by default what Accelerate finds.
        progress: told how far the training is.
    """
    folder, accelerator = Path(out), accelerator or default_accelerator()
    refuse_too_large("teacher", options, len(data.train.classes), accelerator.device)
    maker = view_maker(views, data.train.image_size, seed, "teacher")
    refresher = view_maker(views, data.train.image_size, seed, "teacher/refresh")
    fit(
        Job(
            name="teacher",
            model=fresh_model(data, views, options, seed, "teacher"),
            objective=supervised(options.label_smoothing),
            make_pair=lambda part, epoch: Pair(
                maker.clean(part.images, part.index, epoch), None, part.labels
            ),
            refresh_views=lambda part: refresher.clean(part.images, part.index, 0),
            train=data.train,
            validation=data.validation,
            options=options,
            views=views,
            seed=seed,
            precision=training_precision(options, folder, accelerator),
            folder=folder,
            parents={},
            accelerator=accelerator,
            progress=progress,
        )
    )
    return load_model(folder / MODEL)


def fresh_model(
    data: Splits, views: ViewOptions, options: TrainingOptions, seed: int, name: str
) -> Classifier:
    """Build the network that `name` begins with."""
    image_size = data.train.image_size
    return build(
        options.model,
        classes=data.train.classes,
        image_size=image_size,
        input_size=views.input_size(image_size),
        seed=int(seeding.stream_key(seed, f"{name}/weights")),
        images=data.train.images,
    )


def view_maker(views: ViewOptions, image_size: int, seed: int, purpose: str) -> ViewMaker:
    """Give the views of one purpose draws of their own."""
    try:
        return ViewMaker(views, image_size=image_size, seed=int(seeding.stream_key(seed, purpose)))
    except ValueError as error:
        raise UserError(f"views: {error}") from None
