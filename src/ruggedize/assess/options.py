"""Options of an assessment: the `[assess]` table of a recipe. Imports no torch."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ruggedize.core.errors import UserError
from ruggedize.corruptions import (
    PUBLISHED,
    SEVERITIES,
    Preset,
    allowed_texts,
    check_known,
    complete_options,
)

GENERATED = "generated"


class AssessOptions(BaseModel):
    """Which cells are assessed, and on which images."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    suite: str = Field(
        default=GENERATED,
        description="source of the corrupted images: generated makes them from the test images; "
        "otherwise a folder laid out like CIFAR-10-C or ImageNet-C",
    )
    preset: Literal["auto", Preset] = Field(
        default="auto",
        description="constants of generated corruptions: cifar, imagenet, scaled (those of cifar, "
        "with lengths scaled to the image), or auto: by image size",
    )
    severities: tuple[int, ...] = Field(default=SEVERITIES, description="severities from 1 to 5")
    corruptions: tuple[str, ...] | None = Field(
        default=None, description="names of corruptions; none: all of the suite"
    )
    num_images: int | None = Field(
        default=None,
        ge=1,
        description="number of test images to use, evenly spaced over the set; none: all",
    )
    corruption_options: dict[str, dict[str, str]] = Field(
        default={},
        validate_default=True,
        description="options of generated corruptions, { CORRUPTION = { OPTION = VALUE } }: "
        + allowed_texts(),
    )
    precision: Literal["auto", "bf16", "fp32"] = Field(
        default="auto",
        description="numeric precision; auto: bfloat16 on a GPU that supports it; on a CPU the "
        "faster of bfloat16 and float32, measured once per machine",
    )

    @model_validator(mode="after")
    def check_preset(self) -> "AssessOptions":
        """Reject a preset for a stored suite."""
        if self.suite != GENERATED and self.preset != "auto":
            raise ValueError(
                f"preset = {self.preset!r} has no effect, because {self.suite} is a stored suite; "
                "remove it"
            )
        return self

    @field_validator("severities")
    @classmethod
    def known_and_distinct(cls, severities: tuple[int, ...]) -> tuple[int, ...]:
        """Reject invalid severities; sort the others and drop duplicates."""
        for severity in severities:
            if severity not in SEVERITIES:
                raise ValueError(f"severity must be in 1..5, got {severity}; give e.g. [1, 3, 5]")
        if not severities:
            raise ValueError("give at least one severity from 1 to 5")
        return tuple(sorted(set(severities)))

    @field_validator("corruptions")
    @classmethod
    def at_least_one(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        """Reject an empty list; the suite checks the names."""
        if names == ():
            raise ValueError("give at least one corruption, or leave the option out")
        return names

    @field_validator("corruption_options")
    @classmethod
    def every_option(cls, given: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
        """Fill in defaults for options that are not given; reject unknown options."""
        return complete_options(given, PUBLISHED)


def known_only(options: AssessOptions) -> AssessOptions:
    """Return the options of a recipe, which can only name corruptions of the catalogue.

    Raises:
        ValueError: they name another corruption.
    """
    check_known(options.corruptions or ())
    return options


def parsed_severities(text: str) -> tuple[int, ...]:
    """Parse "5", "1-5" or "1,3,5"; raise UserError for anything else."""
    first, dash, last = text.partition("-")
    try:
        chosen = range(int(first), int(last) + 1) if dash else map(int, text.split(","))
        severities = tuple(chosen)
    except ValueError:
        severities = ()
    if not severities or not set(severities) <= set(SEVERITIES):
        raise UserError(f"severities must be in 1..5, got {text};\ngive e.g. 5, 1-5 or 1,3,5")
    return severities
