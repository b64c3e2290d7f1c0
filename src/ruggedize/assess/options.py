"""How models are examined: the `[assess]` part of a recipe. Imports no torch."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ruggedize.corruptions.names import ALL, SEVERITIES, Frost, unknown
from ruggedize.runs import UserError


class AssessOptions(BaseModel):
    """Which cells are run on which images."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    suite: str = Field(
        default="generated",
        description="where the corrupted images come from: generated makes them from the test "
        "images; else a folder laid out as CIFAR-10-C or ImageNet-C",
    )
    severities: tuple[int, ...] = Field(default=SEVERITIES, description="severities from 1 to 5")
    corruptions: tuple[str, ...] | None = Field(
        default=None, description="names; none: all of the suite"
    )
    num_images: int | None = Field(
        default=None, ge=1, description="test images to use, spread evenly over the set; none: all"
    )
    frost: Frost = Field(
        default="photographs",
        description="the ice of the corruption frost: the official photographs (`ruggedize fetch "
        "frost`) or procedural textures of our own",
    )
    precision: Literal["auto", "bf16", "fp32"] = Field(
        default="auto",
        description="what the network computes in; auto: bfloat16 on a GPU that has it, on a CPU "
        "the faster of bfloat16 and float32, measured once per machine",
    )

    @field_validator("severities")
    @classmethod
    def known_and_distinct(cls, severities: tuple[int, ...]) -> tuple[int, ...]:
        """Refuse severities that do not exist; put the others in order, each once."""
        for severity in severities:
            if severity not in SEVERITIES:
                raise ValueError(f"severity must be 1-5, got {severity}; give e.g. [1, 3, 5]")
        if not severities:
            raise ValueError("give at least one severity from 1 to 5")
        return tuple(sorted(set(severities)))

    @field_validator("corruptions")
    @classmethod
    def known_names(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        """Refuse a corruption that is none of the nineteen."""
        for name in names or ():
            if name not in ALL:
                raise ValueError(unknown(name))
        if names == ():
            raise ValueError("give at least one corruption, or leave the option out")
        return names


def parsed_severities(text: str) -> tuple[int, ...]:
    """Read "5", "1-5" or "1,3,5"."""
    first, dash, last = text.partition("-")
    try:
        chosen = range(int(first), int(last) + 1) if dash else map(int, text.split(","))
        severities = tuple(chosen)
    except ValueError:
        severities = ()
    if not severities or not set(severities) <= set(SEVERITIES):
        raise UserError(f"severities must lie in 1-5, got {text}; give e.g. 5, 1-5 or 1,3,5")
    return severities
