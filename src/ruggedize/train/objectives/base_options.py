"""What the options of all objectives share, and the options of a user's own objective."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, NamedTuple

from pydantic import BaseModel, Field, model_validator

from ruggedize.train.optim import FROZEN

if TYPE_CHECKING:
    from ruggedize.train.objectives.objective import Context, Objective

Sees = Literal["clean", "noisy"]
STEP_PASSES = 3  # of a view that is trained on: one forward, and about two for the backward

Smoothing = Annotated[
    float,
    Field(ge=0, lt=1, description="label smoothing: share of the target spread over all classes"),
]
Temperature = Annotated[
    float, Field(ge=0.01, description="softmax temperature of both predictions in the KL term")
]
Threshold = Annotated[
    float,
    Field(
        ge=0,
        lt=1,
        description="minimum confidence of the teacher for an unlabelled image to count; 0: all "
        "count",
    ),
]
Ratio = Annotated[
    int,
    Field(ge=0, le=64, description="unlabelled images per labelled image in a step"),
]
PseudoLabels = Literal["soft", "hard"]
LabelKind = Annotated[
    PseudoLabels,
    Field(description="soft: predicted probabilities; hard: only the most likely class"),
]
Weight = Annotated[float, Field(gt=0, description="weight of the loss on unlabelled images")]


class Passes(NamedTuple):
    """Forward passes per image, or their equivalent in time."""

    own: int  # of the network
    teacher: int = 0  # of its teacher, in every step
    teacher_once: int = 0  # of its teacher, before the first step
    teacher_every_view: int = 0  # the same, for each possible flip and crop

    @property
    def probe(self) -> int:
        """Passes in a linear probe: the backward pass ends at the head."""
        return sum(divmod(self.own, STEP_PASSES))  # of the network, and of its own average


class BaseObjective(BaseModel):
    """What an objective tells the training before it is built; a subclass states what differs."""

    model_config = FROZEN
    uses_teacher: ClassVar[bool] = False  # a frozen one, from another stage
    sees: ClassVar[Sees] = "noisy"  # the views that batch norm's statistics are refreshed on
    has_views: ClassVar[bool] = False  # `views` of the training selects what the network sees
    learns_mixed_labels: ClassVar[bool] = False  # of noise that mixes labels

    @property
    def needs_teacher(self) -> bool:
        """Whether there is nothing to learn without a teacher."""
        return self.uses_teacher

    @property
    def passes(self) -> dict[str, Passes]:
        """The network arithmetic of an image of each source; empty: unknown to studies."""
        return {}


class CustomObjective(BaseObjective):
    """A user-defined objective, passed from Python: subclass this and define `make`.

    Set `uses_teacher = False` in an objective that does not use `context.teachers`: no teacher is
    loaded then.
    """

    uses_teacher: ClassVar[bool] = True
    has_views: ClassVar[bool] = True
    learns_mixed_labels: ClassVar[bool] = True
    unlabelled_ratio: ClassVar[int] = 0  # an objective's `sources` may name unlabelled images
    kind: Literal["custom"] = "custom"
    name: str = Field(description="name of the objective")

    @model_validator(mode="after")
    def check_subclass(self) -> "CustomObjective":
        """Reject the base class: a recipe file cannot contain code."""
        if type(self) is CustomObjective:
            raise ValueError(
                "a custom objective must be passed from Python; use a built-in kind here"
            )
        return self

    @property
    def needs_teacher(self) -> bool:
        """Whether there is nothing to learn without a teacher: up to `make`."""
        return False

    def make(self, context: "Context") -> "Objective":
        """Build the objective."""
        raise NotImplementedError(f"{type(self).__name__} does not define make")
