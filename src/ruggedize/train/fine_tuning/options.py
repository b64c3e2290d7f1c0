"""Options of stages without a training. Torch is not imported."""

from pydantic import BaseModel, Field, field_validator

from ruggedize.train.optim import FROZEN


class InterpolationOptions(BaseModel):
    """A stage that is not trained: weights between the start and the end of a training (WiSE-FT).

    The weights are (1 - alpha) start + alpha end, with refreshed batch-norm statistics. Alpha is
    the value with the highest accuracy on validation images under the four extra corruptions.
    """

    model_config = FROZEN
    interpolate: str = Field(
        description="earlier training whose delivered weights are the end (alpha = 1)"
    )
    start: str | None = Field(
        default=None,
        description="earlier stage or model file whose weights are the start (alpha = 0); default: "
        "the weights that the training started from, or those after its linear probe if it has one",
    )
    alphas: tuple[float, ...] = Field(
        default=tuple(step / 10 for step in range(11)), description="values of alpha to compare"
    )
    num_images: int = Field(
        default=1000,
        ge=1,
        description="maximum number of validation images to compare on, spread evenly over the "
        "split",
    )

    @field_validator("alphas")
    @classmethod
    def sorted_and_distinct(cls, alphas: tuple[float, ...]) -> tuple[float, ...]:
        """Reject values outside 0..1; put the others in order, each once."""
        if not alphas or min(alphas) < 0 or max(alphas) > 1:
            raise ValueError(f"alphas must be values from 0 to 1, got {list(alphas)}; omit it")
        return tuple(sorted(set(alphas)))
