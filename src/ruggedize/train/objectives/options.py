"""The options of each objective; no torch here, so that a recipe is read in milliseconds."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    SerializeAsAny,
    model_validator,
)

from ruggedize.train.optim import FROZEN, kind_alone

if TYPE_CHECKING:
    from ruggedize.train.objectives.objective import Context, Objective

Smoothing = Annotated[
    float, Field(ge=0, lt=1, description="share of the label spread over all classes")
]
Temperature = Annotated[
    float, Field(ge=0.01, description="softens both predictions in the KL term")
]


class SupervisedOptions(BaseModel):
    """Learn the labels alone, from clean views or, with `views = "noisy"`, from noisy ones."""

    model_config = FROZEN
    kind: Literal["supervised"] = "supervised"
    label_smoothing: Smoothing = 0.0


class ConsistencyOptions(BaseModel):
    """Learn the labels from noisy views, and agree with a frozen teacher.

    Loss: (1 - consistency_weight) * cross entropy(labels, noisy view)
    + consistency_weight * KL(teacher(clean view) || student(noisy view)) of softened predictions.
    """

    model_config = FROZEN
    kind: Literal["consistency"] = "consistency"
    temperature: Temperature = 10.0
    consistency_weight: float = Field(
        default=0.5, ge=0, le=1, description="share of the KL term; 0 trains without any teacher"
    )
    clean_view: Literal["drawn", "test"] = Field(
        default="drawn",
        description="what the teacher sees: flips and crops drawn anew in each epoch, or the test "
        "view, for which it is run once and not in every step (if its logits fit in 1 GB)",
    )
    cached_targets: bool = Field(
        default=False,
        description="run the teacher once on every flip and crop that an image can have, and not "
        'in every step; for clean_view = "drawn" without resize (if its logits fit in 1 GB)',
    )
    temperature_squared: bool = Field(
        default=False,
        description="multiply the KL term by T^2 (Hinton et al. 2015), so that it pulls",
    )
    label_smoothing: Smoothing = 0.0

    @property
    def kl_scale(self) -> float:
        """The factor on the KL term."""
        return self.temperature**2 if self.temperature_squared else 1.0

    @model_validator(mode="after")
    def check_terms(self) -> "ConsistencyOptions":
        """Reject options of a term that is not there."""
        if self.consistency_weight == 0 and self.temperature_squared:
            raise ValueError(
                "temperature_squared does nothing with consistency_weight = 0; leave it out"
            )
        if self.consistency_weight == 0 and self.clean_view == "test":
            raise ValueError(
                'clean_view = "test" does nothing with consistency_weight = 0, where there is no '
                "teacher; leave it out"
            )
        if self.cached_targets and (self.consistency_weight == 0 or self.clean_view == "test"):
            why = (
                'clean_view = "test", whose logits are always kept'
                if self.consistency_weight
                else "consistency_weight = 0, where there is no teacher"
            )
            raise ValueError(f"cached_targets does nothing with {why}; leave it out")
        if self.consistency_weight == 1 and self.label_smoothing:
            raise ValueError(
                "label_smoothing does nothing with consistency_weight = 1, which leaves the labels "
                "out; set it to 0"
            )
        return self


class JsdOptions(BaseModel):
    """Learn the labels from clean views, and predict the same for two noisy views (AugMix)."""

    model_config = FROZEN
    kind: Literal["jsd"] = "jsd"
    weight: float = Field(default=12.0, gt=0, description="factor on the Jensen-Shannon divergence")
    label_smoothing: Smoothing = 0.0


class MeanTeacherOptions(BaseModel):
    """Learn the labels from noisy views, and agree with the network's own moving average."""

    model_config = FROZEN
    kind: Literal["mean-teacher"] = "mean-teacher"
    decay: float = Field(
        default=0.99, gt=0, lt=1, description="of the average, reached by a warm-up"
    )
    temperature: Temperature = 1.0
    consistency_weight: float = Field(default=0.5, gt=0, le=1, description="share of the KL term")
    label_smoothing: Smoothing = 0.0


class CustomObjective(BaseModel):
    """An objective of your own, passed from Python: subclass it and define `make`."""

    model_config = FROZEN
    kind: Literal["custom"] = "custom"
    name: str = Field(description="what the objective is called")

    @model_validator(mode="after")
    def check_subclass(self) -> "CustomObjective":
        """Reject the base class: a recipe file cannot bring its code along."""
        if type(self) is CustomObjective:
            raise ValueError("a custom objective is passed from Python; name a shipped kind here")
        return self

    def make(self, context: "Context") -> "Objective":
        """Return the objective."""
        raise NotImplementedError(f"{type(self).__name__} does not define make")


ObjectiveOptions = Annotated[
    Annotated[
        SupervisedOptions
        | ConsistencyOptions
        | JsdOptions
        | MeanTeacherOptions
        | SerializeAsAny[CustomObjective],
        Field(discriminator="kind"),
    ],
    BeforeValidator(kind_alone),
]
