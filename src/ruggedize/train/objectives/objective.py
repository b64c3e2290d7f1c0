"""The interface of objectives."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, Protocol, get_args, runtime_checkable

import torch
from accelerate import Accelerator
from jaxtyping import Float32
from torch import Tensor, nn

from ruggedize.core import seeding
from ruggedize.core.errors import UserError
from ruggedize.core.progress import Progress
from ruggedize.data import ImageBatch, ImageSet
from ruggedize.train.objectives.options import CustomObjective, ObjectiveOptions, Sees
from ruggedize.views import ViewMaker

LABELLED, UNLABELLED = "labelled", "unlabelled"  # sources of images
IMAGES = "images"  # name of the count of all images of the source "labelled"
EVERY = "every"  # name of the count of the images of both sources
OBJECTIVES = "ruggedize.train.objectives"
STATE = ("after_step", "state_dict", "load_state_dict")  # methods of an objective with a state
ClassWeights = Float32[Tensor, " k"]


@dataclass(frozen=True)
class Batch:
    """One process's share of a step, made on the CPU by an objective.

    Args:
        tensors: by source and name, `[n, ...]` with one row for each image of the source.
        counts: divisors of the loss terms by name; terms and counts are summed over all processes
            first. They must not depend on the model: they are needed before the backward pass.
    """

    tensors: Mapping[str, Mapping[str, Tensor]]
    counts: Mapping[str, int]

    def __getitem__(self, source: str) -> Mapping[str, Tensor]:
        return self.tensors[source]

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on a device; the copy may be asynchronous."""
        return self._changed(lambda tensor: tensor.to(device, non_blocking=True))

    def pin(self) -> "Batch":
        """Return the batch in pinned memory."""
        return self._changed(Tensor.pin_memory)

    def split(self, num_microbatches: int, ghost_batches: int = 1) -> list["Batch"]:
        """Split into micro-batches with the same ratio of sources; each keeps the total counts.

        The batch is split as ghost batch norm splits it, and each micro-batch gets `ghost_batches`
        adjacent groups, so that the same images are normalised together.
        """
        pieces = {
            source: {
                name: grouped(tensor, num_microbatches, ghost_batches)
                for name, tensor in named.items()
            }
            for source, named in self.tensors.items()
        }
        return [
            replace(
                self,
                tensors={
                    source: {name: split[number] for name, split in named.items()}
                    for source, named in pieces.items()
                },
            )
            for number in range(num_microbatches)
        ]

    def _changed(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        tensors = {
            source: {name: change(tensor) for name, tensor in named.items()}
            for source, named in self.tensors.items()
        }
        return replace(self, tensors=tensors)


def grouped(tensor: Tensor, num_groups: int, each: int) -> list[Tensor]:
    """Split a tensor into `num_groups` groups of `each` adjacent pieces of (almost) equal size."""
    sizes = [len(piece) for piece in tensor.tensor_split(num_groups * each)]
    return list(tensor.split([sum(sizes[n : n + each]) for n in range(0, len(sizes), each)]))


def counts_of(images: ImageBatch, unlabelled: ImageBatch | None = None) -> dict[str, int]:
    """Return the counts of all images, labelled images, unlabelled images and both sources."""
    counts = {IMAGES: len(images), LABELLED: int((images.labels >= 0).sum())}
    if unlabelled is None:
        return counts
    return counts | {UNLABELLED: len(unlabelled), EVERY: len(images) + len(unlabelled)}


def hidden_labels(unlabelled: ImageBatch) -> dict[str, Tensor]:
    """Return the known labels of unlabelled images, for a batch; they are for metrics only."""
    known = unlabelled.hidden_labels
    return {} if known is None else {"hidden_labels": known}


def sources_with(unlabelled_ratio: int) -> dict[str, int]:
    """Return the sources of an objective that uses this many unlabelled images per labelled one."""
    return {LABELLED: 1} | ({UNLABELLED: unlabelled_ratio} if unlabelled_ratio else {})


class Term(NamedTuple):
    """A loss term, or a metric that is logged with the loss.

    Args:
        total: float32 scalar, summed over the images of the (micro-)batch.
        per: name of the count in the batch that the sum over all processes is divided by; that of
            a metric may also be another metric, such as the number of confident predictions.
        weight: weight in the loss; 0 for a metric that is only logged.
    """

    total: Tensor
    per: str
    weight: float = 1.0


@runtime_checkable
class Objective(Protocol):
    """Makes the batches of a training and computes their loss.

    Views and teachers belong to the objective; the training loop does not use them.

    Attributes:
        sources: number of images per step from each source, as a multiple of the batch size.
        sees: view that the network is mainly trained on; the batch-norm refresh uses it.
    """

    @property
    def sources(self) -> Mapping[str, int]:
        """Images per step from each source, as a multiple of the batch size."""
        ...

    @property
    def sees(self) -> Sees:
        """The view that the network is mainly trained on."""
        ...

    def batch(self, images: Mapping[str, ImageBatch], epoch: int, step: int) -> Batch:
        """Make a batch on the CPU; random draws depend on seed, epoch and image index only.

        Args:
            images: this process's share of the step, by source.
            epoch: number of the pass over the labelled images, from 0, which their views depend
                on; with steps_per_epoch, the same as `step`.
            step: position of the step in the whole plan, from 0. The views of unlabelled images
                depend on it, because an image may be seen several times in an epoch.
        """
        ...

    def loss(self, model: nn.Module, batch: Batch) -> Mapping[str, Term]:
        """Return loss terms and metrics by name; `model` maps uint8 views to logits."""
        ...


@runtime_checkable
class StatefulObjective(Objective, Protocol):
    """An objective with its own state, which is saved with the training's state."""

    def after_step(self, model: nn.Module, step: int) -> None:
        """Update after the optimiser's step; `step` counts from 1."""
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """Return the tensors to save; equal in all processes."""
        ...

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore a saved state."""
        ...


@dataclass(frozen=True, kw_only=True)
class Context:
    """What an objective is built from.

    Args:
        name: name of the stage.
        model: the classifier to train.
        maker: makes the views of this stage.
        views: view chosen in the options; None: the objective's default.
        teachers: frozen classifiers in eval mode on the device, by stage name.
        train: the labelled training images.
        unlabelled: the unlabelled training images, if there are any.
        starts_trained: whether the classifier starts from trained weights.
        precision: precision of the forward pass.
        accelerator: the processes and the device.
        progress: called as `progress(task, done, total)` during longer preparation.
        class_weights: factor of each class in the cross entropy, on the device; None: all 1.
    """

    name: str
    model: nn.Module
    maker: ViewMaker
    views: Sees | None
    teachers: Mapping[str, nn.Module]
    train: ImageSet
    precision: Literal["bf16", "fp32"]
    accelerator: Accelerator
    progress: Progress
    class_weights: ClassWeights | None = None
    unlabelled: ImageSet | None = None
    starts_trained: bool = False

    @property
    def unlabelled_maker(self) -> ViewMaker:
        """The view maker for unlabelled images; its draws are independent of those of `maker`."""
        seed = int(seeding.stream_key(self.maker.seed, UNLABELLED))
        return replace(self.maker, seed=seed)


def make_objective(options: ObjectiveOptions, context: Context) -> Objective:
    """Build the objective that the options describe, from `objectives` or user code."""
    if isinstance(options, CustomObjective):
        return checked(options.make(context), context.name, options)
    module = importlib.import_module(f"{OBJECTIVES}.{options.kind.replace('-', '_')}")
    return module.make(options, context)


def checked(objective: object, stage: str, options: CustomObjective) -> Objective:
    """Return a user's objective if it has what the training loop needs.

    Raises:
        UserError: it lacks a method or attribute, names unknown sources, or defines only some of
            the methods of an objective with a state.
    """
    kind = type(options).__name__
    if not isinstance(objective, Objective):
        raise UserError(
            f"{stage}: {kind}.make must return an object with sources, sees, batch and loss, got "
            f"{type(objective).__name__};\nsee docs/extending.md"
        )
    if LABELLED not in objective.sources or set(objective.sources) - {LABELLED, UNLABELLED}:
        raise UserError(
            f"{stage}: sources must name {LABELLED} and may name {UNLABELLED}, got "
            f"{', '.join(objective.sources) or 'none'};\ne.g. sources = {{'{LABELLED}': 1}}"
        )
    if objective.sees not in get_args(Sees):
        raise UserError(
            f"{stage}: sees must be clean or noisy, got {objective.sees!r};\nset it to noisy"
        )
    defined = [name for name in STATE if callable(getattr(objective, name, None))]
    if defined and len(defined) < len(STATE):
        raise UserError(
            f"{stage}: an objective with a state needs {', '.join(STATE)}; this one has "
            f"{', '.join(defined)};\ndefine all three"
        )
    return objective
