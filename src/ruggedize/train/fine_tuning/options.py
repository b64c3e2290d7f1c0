"""Options of stages without a training. Torch is not imported."""

from pydantic import BaseModel, Field, field_validator

from ruggedize.train.optim import FROZEN


class InterpolationOptions(BaseModel):
    """A stage without a training: weights between a network's start and end (WiSE-FT).

    The weights are (1 - alpha) start + alpha end, with refreshed batch-norm statistics. Alpha is
    the one with the highest accuracy on validation images under the four extra corruptions.
    """

    model_config = FROZEN
    interpolate: str = Field(description="earlier training at the end (alpha = 1)")
    start: str | None = Field(
        default=None,
        description="earlier stage, or model file, at the start (alpha = 0); default: the weights "
        "that the training at the end started from, after its linear probe if it has one",
    )
    alphas: tuple[float, ...] = Field(
        default=tuple(step / 10 for step in range(11)), description="values of alpha to compare"
    )
    num_images: int = Field(
        default=1000,
        ge=1,
        description="validation images to compare on at most, spread evenly over the split",
    )

    @field_validator("alphas")
    @classmethod
    def sorted_and_distinct(cls, alphas: tuple[float, ...]) -> tuple[float, ...]:
        """Reject values outside 0..1; put the others in order, each once."""
        if not alphas or min(alphas) < 0 or max(alphas) > 1:
            raise ValueError(f"alphas must be values from 0 to 1, got {list(alphas)}; omit it")
        return tuple(sorted(set(alphas)))
