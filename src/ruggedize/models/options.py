"""The options of models. Does not import torch, so that recipes load in milliseconds."""

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
MAX_SIZE = 1024  # layers or channels, so that a typo does not exhaust memory


TIMM = "timm/"


def table_from_name(value: Any) -> Any:
    """Convert `model = "resnet9"` to `model = { name = "resnet9" }`, and the name "timm/NAME"."""
    table = {"name": value} if isinstance(value, str) else value
    name = table.get("name") if isinstance(table, dict) else None
    if isinstance(name, str) and name.startswith(TIMM):
        return {**table, "name": "timm", "architecture": name.removeprefix(TIMM)}
    return table


class ResNet50V2Options(BaseModel):
    """ResNet50V2, identical to Keras' application, for images of at least 64 pixels."""

    model_config = FROZEN
    name: Literal["resnet50v2"] = "resnet50v2"


class ResNet9Options(BaseModel):
    """Small, fast residual network, for training on 32-pixel images on a CPU."""

    model_config = FROZEN
    name: Literal["resnet9"] = "resnet9"
    width: int = Field(
        default=64, ge=8, le=MAX_SIZE, multiple_of=8, description="channels of the stem"
    )
    batch_norm_momentum: float = Field(
        default=0.1, gt=0, le=1, description="weight of the current batch in the running statistics"
    )


class AirbenchOptions(BaseModel):
    """Small network for 32-pixel images and few epochs, whose first layer is fitted to images."""

    model_config = FROZEN
    name: Literal["airbench"] = "airbench"
    width: int = Field(
        default=64,
        ge=8,
        le=MAX_SIZE,
        multiple_of=8,
        description="channels of the first block; the other two have 4 times as many",
    )
    batch_norm_momentum: float = Field(
        default=0.4, gt=0, le=1, description="weight of the current batch in the running statistics"
    )


Dropout = Annotated[
    float,
    Field(ge=0, lt=1, description="dropout rate between the convolutions of a block"),
]
StochasticDepth = Annotated[
    float,
    Field(
        ge=0,
        lt=1,
        description="rate at which the residual branch of the last block is dropped; it grows "
        "linearly from the first block (0.2 in Noisy Student)",
    ),
]


class PreActResNet18Options(BaseModel):
    """Pre-activation ResNet-18 for 32-pixel images."""

    model_config = FROZEN
    name: Literal["preact_resnet18"] = "preact_resnet18"
    width: int = Field(
        default=64, ge=8, le=MAX_SIZE, multiple_of=8, description="channels of the first stage"
    )
    dropout: Dropout = 0.0
    stochastic_depth: StochasticDepth = 0.0


class WideResNetOptions(BaseModel):
    """Wide residual network for 32-pixel images: WRN-depth-width."""

    model_config = FROZEN
    name: Literal["wide_resnet"] = "wide_resnet"
    depth: int = Field(
        default=28, ge=10, le=MAX_SIZE, description="number of layers; must be of the form 6 k + 4"
    )
    width: int = Field(
        default=10, ge=1, le=MAX_SIZE, description="factor for the numbers of channels 16, 32, 64"
    )
    dropout: Dropout = 0.0
    stochastic_depth: StochasticDepth = 0.0
    negative_slope: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="slope of leaky ReLU for negative values; 0: ReLU. The WRN-28-2 of "
        "semi-supervised papers has depth 28, width 2 and slope 0.1",
    )

    @field_validator("depth")
    @classmethod
    def check_depth(cls, depth: int) -> int:
        """Reject a depth that is not 6 k + 4, which does not make three equal stages."""
        if (depth - 4) % 6:
            below = depth - (depth - 4) % 6
            raise ValueError(
                f"depth must be of the form 6 k + 4, got {depth}; use {below} or {below + 6}"
            )
        return depth


class TimmOptions(BaseModel):
    """Any timm classifier (extra `timm`), named `timm/NAME`; normalised as timm specifies.

    The last layer is replaced by one for the data's classes; the input size is that of the views.
    """

    model_config = FROZEN
    name: Literal["timm"] = "timm"
    architecture: str = Field(
        pattern=r"^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)?$",
        description="name in timm, with or without a tag: resnet18, resnet18.a1_in1k",
    )
    pretrained: bool | str = Field(
        default=False,
        description="false: train from scratch; true: published weights, from the cache of the "
        "Hugging Face Hub or downloaded; or a safetensors file with weights of this network",
    )
    drop_rate: float = Field(default=0.0, ge=0, lt=1, description="dropout before the last layer")
    drop_path_rate: float = Field(
        default=0.0, ge=0, lt=1, description="stochastic depth: highest rate of dropped branches"
    )


class CustomModel(BaseModel):
    """A user-defined network, passed from Python; subclass this and define `layout`."""

    model_config = FROZEN
    name: Literal["custom"] = "custom"

    def layout(self, num_classes: int) -> "nn.Module":
        """Return the network, which maps normalised float images `[n, 3, h, w]` to logits `[n, k]`.

        Raises:
            UserError: a recipe or a model file named the network but cannot contain its code.
        """
        raise UserError(
            "a custom network cannot be built from its name alone;\n"
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
        | TimmOptions
        | SerializeAsAny[CustomModel],
        Field(discriminator="name"),
    ],
    BeforeValidator(table_from_name),
]
