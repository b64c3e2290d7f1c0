"""Supervised loss on noisy views plus agreement with a frozen teacher on clean views."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial

from torch import Tensor, nn

from ruggedize.core.errors import UserError
from ruggedize.data import ImageBatch, ImageSet
from ruggedize.models import Classifier, joint_logits
from ruggedize.train.objectives.losses import (
    agreement_metrics,
    confident_kl,
    cross_entropy_sum,
    softened_kl,
    student_metrics,
)
from ruggedize.train.objectives.objective import (
    EVERY,
    IMAGES,
    LABELLED,
    UNLABELLED,
    Batch,
    Context,
    Term,
    counts_of,
    hidden_labels,
    sources_with,
)
from ruggedize.train.objectives.options import ConsistencyOptions, Sees
from ruggedize.train.objectives.targets import KeptLogits, precomputed_logits
from ruggedize.train.objectives.teachers import Ensemble, frozen_logits, teacher_of
from ruggedize.views import ViewMaker


def make(options: ConsistencyOptions, context: Context) -> "Consistency":
    """Build the objective; it needs a teacher unless the weight is 0.

    Raises:
        UserError: there is no teacher, or the views cannot be cached.
    """
    if options.consistency_weight == 0:
        return Consistency(options, context, None)
    views = context.maker.options
    if options.cached_targets and views.is_resampled:
        option = "crop_mode" if views.crops_originals else "resize"
        raise UserError(
            f"{context.name}: cached_targets needs views that are only flipped and cropped, got "
            f"views.{option} = {getattr(views, option)};\n"
            f"remove views.{option} or cached_targets"
        )
    return Consistency(options, context, teacher_of(context, "consistency"))


@dataclass(frozen=True)
class Consistency:
    """(1 - w) cross entropy(labels, student(noisy)) + w KL(teacher(clean) || student(noisy)).

    The divergence is the mean over all images, labelled or not. Unlabelled images count if the
    teacher's confidence reaches the threshold; otherwise their divergence is 0.

    Source: the Keras example "Consistency training with supervision" (w = 1/2, T = 10, no T^2);
    Hinton et al. 2015 for T^2. With w = 0 there is no teacher.
    """

    options: ConsistencyOptions
    context: Context
    teacher: nn.Module | None
    sees: Sees = ConsistencyOptions.sees

    @property
    def sources(self) -> Mapping[str, int]:
        """Images per step from each source, as a multiple of the batch size."""
        return sources_with(self.options.unlabelled_ratio)

    def batch(self, images: Mapping[str, ImageBatch], epoch: int, step: int) -> Batch:
        """Make the noisy view, and the clean view or the teacher's precomputed logits for it."""
        context, labelled, unlabelled = self.context, images[LABELLED], images.get(UNLABELLED)
        tensors = {LABELLED: self._views(labelled, context.maker, epoch, self._teacher_logits)}
        tensors[LABELLED]["labels"] = labelled.labels
        if unlabelled is not None:
            maker, table = context.unlabelled_maker, self._unlabelled_teacher_logits
            views = self._views(unlabelled, maker, step, table)
            tensors[UNLABELLED] = views | hidden_labels(unlabelled)
        return Batch(tensors, counts_of(labelled, unlabelled))

    def _views(
        self, images: ImageBatch, maker: ViewMaker, draw: int, table: KeptLogits | None
    ) -> dict[str, Tensor]:
        """Make the views of one source; `draw` is the number that their random draws depend on."""
        tensors: dict[str, Tensor] = {}
        drawn = self.options.clean_view == "drawn"
        if table is not None:
            number = maker.clean_numbers(images.index, draw) if drawn else 0
            tensors["target"] = table.of(images.index, number)
        elif self.teacher is not None and drawn:
            tensors["clean"], tensors["noisy"] = maker.pair(images.images, images.index, draw)
        elif self.teacher is not None:
            tensors["clean"] = maker.test(images.images)
        if "noisy" not in tensors:
            tensors["noisy"] = maker.noisy(images.images, images.index, draw)
        return tensors

    def loss(self, model: nn.Module, batch: Batch) -> Mapping[str, Term]:
        """Return both loss terms and the metrics."""
        options, tensors = self.options, batch[LABELLED]
        sources = [batch[source] for source in (LABELLED, UNLABELLED) if source in batch.tensors]
        found = [each.float() for each in joint_logits(model, [own["noisy"] for own in sources])]
        logits, labels = found[0], tensors["labels"]
        cross_entropy = cross_entropy_sum(
            logits, labels, options.label_smoothing, self.context.class_weights
        )
        metrics = student_metrics(logits, labels)
        if self.teacher is None:
            return {"cross_entropy": Term(cross_entropy, LABELLED)} | metrics
        targets = [self._target(self.teacher, own) for own in sources]
        kl, per = softened_kl(logits, targets[0], options.temperature), IMAGES
        metrics |= agreement_metrics(logits, targets[0])
        if UNLABELLED in batch.tensors:
            more, unlabelled_metrics = confident_kl(
                found[1], targets[1], options, sources[1].get("hidden_labels")
            )
            kl, per, metrics = kl + more, EVERY, metrics | unlabelled_metrics
        weight = options.consistency_weight
        return {
            "cross_entropy": Term(cross_entropy, LABELLED, 1.0 - weight),
            "consistency": Term(kl * options.kl_scale, per, weight),
            **metrics,
        }

    def _target(self, teacher: nn.Module, tensors: Mapping[str, Tensor]) -> Tensor:
        target = tensors.get("target")
        return frozen_logits(teacher, tensors["clean"]) if target is None else target

    @cached_property
    def _teacher_logits(self) -> KeptLogits | None:
        """The teacher's logits for every clean view, if precomputed; built at the first batch."""
        return self._table(self.context.train, self.context.maker)

    @cached_property
    def _unlabelled_teacher_logits(self) -> KeptLogits | None:
        """The teacher's logits for the clean views of the unlabelled images, if precomputed."""
        assert self.context.unlabelled is not None
        return self._table(self.context.unlabelled, self.context.unlabelled_maker)

    def _table(self, images: ImageSet, maker: ViewMaker) -> KeptLogits | None:
        context, teacher, drawn = self.context, self.teacher, self.options.clean_view == "drawn"
        if teacher is None or (drawn and not self.options.cached_targets):
            return None
        assert isinstance(teacher, Classifier | Ensemble)
        views = [teacher.test_view]
        if drawn:
            numbers = range(maker.num_clean_views)
            views = [partial(maker.numbered_clean, number=number) for number in numbers]
        return precomputed_logits(
            teacher, images, views, context.precision, context.accelerator, context.progress
        )
