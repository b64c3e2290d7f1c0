"""The student: labels and the teacher's softened predictions, learnt from noisy views."""

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor

from ruggedize.data import ImageSet, Splits
from ruggedize.models import Classifier, load_model, num_parameters
from ruggedize.runs import Progress, UserError, no_progress, sha256
from ruggedize.training.beginning import MODEL
from ruggedize.training.job import Job, MakePair
from ruggedize.training.launching import default_accelerator
from ruggedize.training.loop import fit
from ruggedize.training.memory_need import refuse_too_large
from ruggedize.training.objectives import Pair, consistency
from ruggedize.training.options import StudentOptions
from ruggedize.training.precision import training_precision
from ruggedize.training.targets import known_targets
from ruggedize.training.teacher import fresh_model, view_maker
from ruggedize.views import ViewMaker, ViewOptions


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
) -> Classifier:
    """Train a student on noisy views to agree with its teacher and with the labels.

    Args:
        data: training and validation split (the test split is not touched).
        views: the clean view (for the teacher) and the noise on top of it (for the student).
        options: those of a teacher, and temperature, consistency weight and scaling.
        teacher: the teacher's `model.safetensors`.
        out: folder for `model.safetensors`, `initial.safetensors`, `metrics.jsonl` and `state/`.
        seed: fixes initial weights, order and views.
        accelerator: the processes and the device; by default what Accelerate finds.
        progress: told how far the training is.
    """
    folder, accelerator = Path(out), accelerator or default_accelerator()
    refuse_too_large("student", options, len(data.train.classes), accelerator.device)
    model = fresh_model(data, views, options, seed, "student")
    frozen = frozen_teacher(Path(teacher), model, options, accelerator.device)
    maker = view_maker(views, data.train.image_size, seed, "student")
    refresher = view_maker(views, data.train.image_size, seed, "student/refresh")
    precision = training_precision(options, folder, accelerator)
    make_pair = pairs(maker, with_teacher=frozen is not None)
    if frozen is not None and options.clean_view == "test":
        ask = partial(known_targets, frozen, data.train, precision, accelerator, progress)
        make_pair = pairs_with_test_view(maker, ask)
    fit(
        Job(
            name="student",
            model=model,
            objective=consistency(frozen, options),
            make_pair=make_pair,
            refresh_views=lambda part: refresher.noisy(part.images, part.index, 0),
            train=data.train,
            validation=data.validation,
            options=options,
            views=views,
            seed=seed,
            precision=precision,
            folder=folder,
            parents={"teacher": sha256(Path(teacher))},
            accelerator=accelerator,
            progress=progress,
        )
    )
    return load_model(folder / MODEL)


def pairs(maker: ViewMaker, *, with_teacher: bool) -> MakePair:
    """Make the noisy view for the student and, where there is a teacher, a clean one for it."""

    def make_pair(part: ImageSet, epoch: int) -> Pair:
        if with_teacher:
            clean, noisy = maker.pair(part.images, part.index, epoch)
            return Pair(clean, noisy, part.labels)
        return Pair(None, maker.noisy(part.images, part.index, epoch), part.labels)

    return make_pair


def pairs_with_test_view(maker: ViewMaker, ask: Callable[[], Tensor | None]) -> MakePair:
    """Make the noisy view, and give with it what the teacher says of the test view.

    It is asked when the first pair is made: nothing can refuse the training any more.
    """
    asked = cache(ask)

    def make_pair(part: ImageSet, epoch: int) -> Pair:
        noisy, known = maker.noisy(part.images, part.index, epoch), asked()
        if known is None:
            return Pair(maker.test(part.images), noisy, part.labels)
        return Pair(None, noisy, part.labels, known[part.index])

    return make_pair


def frozen_teacher(
    path: Path, student: Classifier, options: StudentOptions, device: torch.device
) -> Classifier | None:
    """Load the teacher for inference alone and check that the student may learn from it."""
    teacher = load_model(path, classes=student.classes)
    if teacher.input_size != student.input_size:
        raise UserError(
            f"{path} takes images of {teacher.input_size} pixels, the student's views have "
            f"{student.input_size};\nuse the same views.resize and views.crop for both"
        )
    if not options.allow_smaller_student:
        refuse_smaller(teacher=num_parameters(teacher), student=num_parameters(student))
    if options.consistency_weight == 0:
        return None
    layout = torch.channels_last if options.channels_last else torch.contiguous_format
    teacher.to(device=device, memory_format=layout)  # pyright: ignore
    return teacher.eval().requires_grad_(False)


def refuse_smaller(*, teacher: int, student: int) -> None:
    """Refuse a student with fewer parameters than its teacher."""
    if student < teacher:
        raise UserError(
            f"the student has {student:,} parameters, its teacher {teacher:,}: a student must be "
            "equal or larger;\n"
            "choose a larger student.model or set student.allow_smaller_student = true"
        )
