"""How models are examined: the `[assess]` part of a recipe. Imports no torch."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from evenkeel.corruptions.names import SEVERITIES


class AssessOptions(BaseModel):
    """Which cells are run on which images."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    suite: str = Field(default="generated", description="where the corrupted images come from")
    severities: tuple[int, ...] = Field(default=SEVERITIES, description="severities from 1 to 5")
    corruptions: tuple[str, ...] | None = Field(
        default=None, description="names; none: all of the suite"
    )
    num_images: int | None = Field(
        default=None, ge=1, description="test images to use, spread evenly over the set; none: all"
    )
    precision: Literal["auto", "bf16", "fp32"] = Field(
        default="auto",
        description="what the network computes in; auto: bf16 where the device has it",
    )

    @field_validator("severities")
    @classmethod
    def known_and_distinct(cls, severities: tuple[int, ...]) -> tuple[int, ...]:
        """Refuse severities that do not exist; put the others in order, each once."""
        for severity in severities:
            if severity not in SEVERITIES:
                raise ValueError(f"severity must be 1-5, got {severity}")
        if not severities:
            raise ValueError("give at least one severity from 1 to 5")
        return tuple(sorted(set(severities)))
