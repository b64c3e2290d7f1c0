"""Options of the objectives. Torch is not imported, so that reading a recipe takes milliseconds."""

from typing import Annotated, ClassVar, Literal, get_args

from pydantic import BeforeValidator, Field, SerializeAsAny, model_validator

from ruggedize.train.objectives.base_options import (
    STEP_PASSES,
    BaseObjective,
    CustomObjective,
    LabelKind,
    Passes,
    Ratio,
    Sees,
    Smoothing,
    Temperature,
    Threshold,
    Weight,
)
from ruggedize.train.optim import table_from_kind

SOURCES = ("labelled", "unlabelled")


class SupervisedOptions(BaseObjective):
    """Cross entropy with the labels, on clean views or, with `views = "noisy"`, on noisy views."""

    sees: ClassVar[Sees] = "clean"  # unless `views` of the training says otherwise
    has_views: ClassVar[bool] = True
    learns_mixed_labels: ClassVar[bool] = True
    unlabelled_ratio: ClassVar[int] = 0
    kind: Literal["supervised"] = "supervised"
    label_smoothing: Smoothing = 0.0

    @property
    def passes(self) -> dict[str, Passes]:
        """One view of each image."""
        return {"labelled": Passes(STEP_PASSES)}


class AgreementOptions(BaseObjective):
    """Base class of the options of objectives with a KL divergence from a teacher."""

    temperature: Temperature = 1.0
    temperature_squared: bool = Field(
        default=False,
        description="multiply the KL term by T^2 (Hinton et al. 2015), so that its gradient does "
        "not shrink with the temperature",
    )
    unlabelled_ratio: Ratio = 0
    threshold: Threshold = 0.0
    label_smoothing: Smoothing = 0.0

    @property
    def kl_scale(self) -> float:
        """The factor on the KL term."""
        return self.temperature**2 if self.temperature_squared else 1.0

    @model_validator(mode="after")
    def check_threshold(self) -> "AgreementOptions":
        """Reject a threshold that has no effect."""
        if self.threshold and not self.unlabelled_ratio:
            raise ValueError(
                "threshold applies to unlabelled images only; set unlabelled_ratio, or remove it"
            )
        return self


class ConsistencyOptions(AgreementOptions):
    """Cross entropy with the labels on noisy views, plus agreement with a frozen teacher.

    Loss: (1 - consistency_weight) * cross entropy(labels, noisy view)
    + consistency_weight * KL(teacher(clean view) || student(noisy view)) of softened predictions.
    """

    uses_teacher: ClassVar[bool] = True
    kind: Literal["consistency"] = "consistency"
    temperature: Temperature = 10.0
    consistency_weight: float = Field(
        default=0.5, ge=0, le=1, description="weight of the KL term; 0 trains without a teacher"
    )
    clean_view: Literal["drawn", "test"] = Field(
        default="drawn",
        description="view that the teacher sees: random flips and crops in every epoch, or the "
        "test view, whose logits are computed once (if they fit in 1 GB) instead of in every step",
    )
    cached_targets: bool = Field(
        default=False,
        description="compute the teacher's logits once, for every possible flip and crop (if they "
        'fit in 1 GB), instead of in every step; requires clean_view = "drawn" and views that are '
        "not resized",
    )

    @property
    def needs_teacher(self) -> bool:
        """Whether there is a KL term."""
        return self.consistency_weight > 0

    @property
    def passes(self) -> dict[str, Passes]:
        """One view for the network, and one for the teacher if its targets are not kept."""
        if not self.needs_teacher:
            each = Passes(STEP_PASSES)
        elif self.clean_view == "test":
            each = Passes(STEP_PASSES, teacher_once=1)
        elif self.cached_targets:
            each = Passes(STEP_PASSES, teacher_every_view=1)
        else:
            each = Passes(STEP_PASSES, teacher=1)
        return dict.fromkeys(SOURCES, each)

    @model_validator(mode="after")
    def check_terms(self) -> "ConsistencyOptions":
        """Reject options that have no effect."""
        if self.consistency_weight == 0 and self.temperature_squared:
            raise ValueError(
                "temperature_squared has no effect with consistency_weight = 0; remove it"
            )
        if self.consistency_weight == 0 and self.clean_view == "test":
            raise ValueError(
                'clean_view = "test" has no effect with consistency_weight = 0; remove it'
            )
        if self.cached_targets and (self.consistency_weight == 0 or self.clean_view == "test"):
            why = (
                'clean_view = "test", whose logits are always kept'
                if self.consistency_weight
                else "consistency_weight = 0, where there is no teacher"
            )
            raise ValueError(f"cached_targets has no effect with {why}; remove it")
        if self.consistency_weight == 0 and self.unlabelled_ratio:
            raise ValueError(
                "unlabelled_ratio has no effect with consistency_weight = 0; remove it"
            )
        if self.consistency_weight == 1 and self.label_smoothing:
            raise ValueError(
                "label_smoothing has no effect with consistency_weight = 1; set it to 0"
            )
        return self


class JsdOptions(BaseObjective):
    """Cross entropy on clean views, plus consistency with two noisy views (AugMix)."""

    kind: Literal["jsd"] = "jsd"
    weight: float = Field(default=12.0, gt=0, description="weight of the Jensen-Shannon divergence")
    unlabelled_ratio: Ratio = 0
    label_smoothing: Smoothing = 0.0

    @property
    def passes(self) -> dict[str, Passes]:
        """Three views, one clean and two noisy."""
        return dict.fromkeys(SOURCES, Passes(3 * STEP_PASSES))


class MeanTeacherOptions(AgreementOptions):
    """Cross entropy on noisy views, plus agreement with a moving average of the network."""

    kind: Literal["mean-teacher"] = "mean-teacher"
    decay: float = Field(
        default=0.99,
        gt=0,
        lt=1,
        description="decay of the average, reached after a warm-up unless the network starts from "
        "trained weights",
    )
    consistency_weight: float = Field(default=0.5, gt=0, le=1, description="weight of the KL term")

    @property
    def passes(self) -> dict[str, Passes]:
        """One view for the network, and one for its average."""
        return dict.fromkeys(SOURCES, Passes(STEP_PASSES + 1))


class NoisyStudentOptions(BaseObjective):
    """Cross entropy on noisy views, with pseudo-labels of a frozen teacher for unlabelled images.

    Loss: cross entropy(labels, noisy view) + weight * cross entropy(teacher(whole image), noisy
    view of an unlabelled image).
    """

    uses_teacher: ClassVar[bool] = True
    kind: Literal["noisy-student"] = "noisy-student"
    unlabelled_ratio: Annotated[Ratio, Field(ge=1)] = 7
    weight: Weight = 1.0
    pseudo_labels: LabelKind = "soft"
    threshold: Threshold = 0.3
    balanced: bool = Field(
        default=True,
        description="weight the unlabelled images so that all predicted classes count equally; an "
        "image of a rare class counts at most ten times as much as in a class of average size",
    )
    label_smoothing: Smoothing = 0.0

    @property
    def passes(self) -> dict[str, Passes]:
        """One view for the network; the teacher sees the unlabelled images once."""
        return {"labelled": Passes(STEP_PASSES), "unlabelled": Passes(STEP_PASSES, teacher_once=1)}


class FixMatchOptions(BaseObjective):
    """Cross entropy on clean views, and on noisy views with the clean views' pseudo-labels.

    Loss: cross entropy(labels, clean view) + weight * cross entropy(prediction for the clean view,
    noisy view), over the unlabelled images with a confident prediction.
    """

    sees: ClassVar[Sees] = "clean"
    kind: Literal["fixmatch"] = "fixmatch"
    unlabelled_ratio: Annotated[Ratio, Field(ge=1)] = 7
    weight: Weight = 1.0
    pseudo_labels: LabelKind = "hard"
    labels_from: Literal["network", "average"] = Field(
        default="network",
        description="what predicts the pseudo-labels: the network, or a moving average of its "
        "weights, which costs a forward pass instead of a second view in the backward pass",
    )
    average_decay: float = Field(
        default=0.999,
        gt=0,
        lt=1,
        description='decay of that average (labels_from = "average")',
    )
    threshold: float = Field(
        default=0.95, ge=0, lt=1, description="minimum confidence for a pseudo-label to count"
    )
    relative_threshold: bool = Field(
        default=False,
        description="multiply the threshold by the mean confidence on labelled images (AdaMatch)",
    )
    distribution_alignment: bool = Field(
        default=False,
        description="rescale the pseudo-labels' probabilities by the ratio of the mean predictions "
        "on labelled and unlabelled images (AdaMatch)",
    )
    statistics_decay: float = Field(
        default=0.999,
        ge=0,
        lt=1,
        description="decay of the moving averages that relative_threshold and "
        "distribution_alignment use, reached after a warm-up",
    )
    label_smoothing: Smoothing = 0.0

    @property
    def passes(self) -> dict[str, Passes]:
        """One view of labelled images and two of the others, all in one backward pass.

        With an average, one view of each image for the network, and one for the average.
        """
        if self.labels_from == "average":
            return dict.fromkeys(SOURCES, Passes(STEP_PASSES + 1))
        return {"labelled": Passes(STEP_PASSES), "unlabelled": Passes(2 * STEP_PASSES)}

    @property
    def uses_statistics(self) -> bool:
        """Whether pseudo-labels depend on earlier steps."""
        return self.relative_threshold or self.distribution_alignment

    @model_validator(mode="after")
    def check_decays(self) -> "FixMatchOptions":
        """Reject a decay of averages that are not used."""
        fields = FixMatchOptions.model_fields
        needs = {
            "statistics_decay": (
                self.uses_statistics,
                "relative_threshold or distribution_alignment",
            ),
            "average_decay": (self.labels_from == "average", 'labels_from = "average"'),
        }
        for name, (is_used, cure) in needs.items():
            if getattr(self, name) != fields[name].default and not is_used:
                raise ValueError(f"{name} has no effect without {cure}; set it, or remove {name}")
        return self


BuiltIn = (
    SupervisedOptions
    | ConsistencyOptions
    | JsdOptions
    | MeanTeacherOptions
    | NoisyStudentOptions
    | FixMatchOptions
)
KINDS: tuple[str, ...] = tuple(kind.model_fields["kind"].default for kind in get_args(BuiltIn))
UNTAUGHT: tuple[str, ...] = tuple(
    kind.model_fields["kind"].default for kind in get_args(BuiltIn) if not kind.uses_teacher
)
ObjectiveOptions = Annotated[
    Annotated[BuiltIn | SerializeAsAny[CustomObjective], Field(discriminator="kind")],
    BeforeValidator(table_from_kind),
]
