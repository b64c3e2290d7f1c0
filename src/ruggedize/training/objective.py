"""The interface of objectives, and what they have at hand."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from accelerate import Accelerator
from torch import Tensor, nn

from ruggedize.data import ImageBatch, ImageSet
from ruggedize.runs import Progress
from ruggedize.training.batch import Batch
from ruggedize.training.objective_options import CustomObjective, ObjectiveOptions
from ruggedize.views import ViewMaker

OBJECTIVES = "ruggedize.training.objectives"
Sees = Literal["clean", "noisy"]


class Term(NamedTuple):
    """A part of the loss, or a metric that is logged with it.

    Args:
        total: float32 scalar, summed over the images of the (micro-)batch.
        per: the name of the batch's count that the sum over all processes is divided by.
        weight: of the part in the loss; 0 for a metric that is only logged.
    """

    total: Tensor
    per: str
    weight: float = 1.0


@runtime_checkable
class Objective(Protocol):
    """Makes the batch of a step and its loss; the training loop knows neither views nor teachers.

    Attributes:
        sources: images a step takes from each source, relative to the batch size.
        sees: which view the network is mostly trained on; batch-norm statistics of averaged
            weights are recomputed on it.
    """

    @property
    def sources(self) -> Mapping[str, int]:
        """Images of a step by source, relative to the batch size."""
        ...

    @property
    def sees(self) -> Sees:
        """The view that the network is mostly trained on."""
        ...

    def batch(self, images: Mapping[str, ImageBatch], epoch: int, step: int) -> Batch:
        """Make a batch on the CPU; its draws depend on the epoch and the images' indices alone.

        Args:
            images: this process's share of the step, by source.
            epoch: counted from 0.
            step: the step of the whole plan, counted from 0.
        """
        ...

    def loss(self, model: nn.Module, batch: Batch) -> Mapping[str, Term]:
        """Return the terms of the loss by name; `model` maps uint8 views to logits."""
        ...


@runtime_checkable
class StatefulObjective(Objective, Protocol):
    """An objective that learns something of its own, saved with the state of the training."""

    def after_step(self, model: nn.Module, step: int) -> None:
        """Update after the optimiser's step; `step` counts from 1."""
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """Return what must be saved; equal in all processes."""
        ...

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from a saved state."""
        ...


@dataclass(frozen=True, kw_only=True)
class Context:
    """What an objective may use.

    Args:
        name: of the stage.
        model: the classifier that is trained.
        maker: makes the views of this stage.
        views: which view the stage asks for; None: the objective's own choice.
        teachers: frozen classifiers in eval mode on the device, by name of their stage.
        train: the labelled training images.
        precision: what the networks compute in.
        accelerator: the processes and the device.
        progress: called after every unit of a longer preparation.
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


def make_objective(options: ObjectiveOptions, context: Context) -> Objective:
    """Return the objective that the options describe: a module of `objectives`, or one's own."""
    if isinstance(options, CustomObjective):
        return options.make(context)
    module = importlib.import_module(f"{OBJECTIVES}.{options.kind.replace('-', '_')}")
    return module.make(options, context)
