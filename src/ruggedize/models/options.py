"""Which network a model is; no torch here, so that a recipe is read in milliseconds."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializeAsAny,
    field_validator,
)

from ruggedize.core.errors import UserError

if TYPE_CHECKING:
    from torch import nn

FROZEN = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
MOST = 1024  # layers or channels; a slip of the pen beyond it would take all memory


def name_alone(value: Any) -> Any:
    """Read `model = "resnet9"` as `model = { name = "resnet9" }`."""
    return {"name": value} if isinstance(value, str) else value


class ResNet50V2Options(BaseModel):
    """ResNet50V2 with the very layout of Keras' application, for images of 64 pixels and up."""

    model_config = FROZEN
    name: Literal["resnet50v2"] = "resnet50v2"


class ResNet9Options(BaseModel):
    """A small fast residual net for 32-pixel images on a CPU."""

    model_config = FROZEN
    name: Literal["resnet9"] = "resnet9"
    width: int = Field(
        default=64, ge=8, le=MOST, multiple_of=8, description="channels after the stem"
    )
    batch_norm_momentum: float = Field(
        default=0.1, gt=0, le=1, description="share of the newest batch in the running statistics"
    )


class AirbenchOptions(BaseModel):
    """A small net for 32-pixel images that learns most in few epochs; its first layer is fitted."""

    model_config = FROZEN
    name: Literal["airbench"] = "airbench"
    width: int = Field(
        default=64,
        ge=8,
        le=MOST,
        multiple_of=8,
        description="channels of the first block; then 4 times it",
    )
    batch_norm_momentum: float = Field(
        default=0.4, gt=0, le=1, description="share of the newest batch in the running statistics"
    )


class PreActResNet18Options(BaseModel):
    """Pre-activation ResNet-18 for 32-pixel images."""

    model_config = FROZEN
    name: Literal["preact_resnet18"] = "preact_resnet18"
    width: int = Field(
        default=64, ge=8, le=MOST, multiple_of=8, description="channels of the first stage"
    )


class WideResNetOptions(BaseModel):
    """Wide residual network for 32-pixel images: WRN-depth-width."""

    model_config = FROZEN
    name: Literal["wide_resnet"] = "wide_resnet"
    depth: int = Field(default=28, ge=10, le=MOST, description="number of layers, 6 k + 4")
    width: int = Field(default=10, ge=1, le=MOST, description="factor on the channels 16, 32, 64")

    @field_validator("depth")
    @classmethod
    def whole_blocks(cls, depth: int) -> int:
        """Reject a depth that three equal stages of two-layer blocks cannot have."""
        if (depth - 4) % 6:
            below = depth - (depth - 4) % 6
            raise ValueError(f"depth must be 6 k + 4, got {depth}; use {below} or {below + 6}")
        return depth


class CustomModel(BaseModel):
    """A network of your own, passed from Python: subclass it and define `layout`."""

    model_config = FROZEN
    name: Literal["custom"] = "custom"

    def layout(self, num_classes: int) -> "nn.Module":
        """Return the network: it maps normalised float images `[n, 3, h, w]` to logits `[n, k]`.

        Raises:
            UserError: a recipe or a model file named it, and neither brings its code along.
        """
        raise UserError(
            "the network is one of your own and cannot be built from its name;\n"
            "pass it from Python: load_model(..., network=...), or a subclass of CustomModel that "
            "defines layout"
        )


ModelOptions = Annotated[
    Annotated[
        ResNet50V2Options
        | ResNet9Options
        | AirbenchOptions
        | PreActResNet18Options
        | WideResNetOptions
        | SerializeAsAny[CustomModel],
        Field(discriminator="name"),
    ],
    BeforeValidator(name_alone),
]
