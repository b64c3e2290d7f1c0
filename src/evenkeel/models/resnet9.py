"""A small fast residual net: eight convolutions and one linear layer."""

from jaxtyping import Float
from torch import Tensor, nn

LOGIT_SCALE = 0.125  # keeps the first logits of a max-pooled net small


class ResNet9(nn.Module):
    """Spend the arithmetic at 16 and 8 pixels, where a CPU's convolutions run at full speed.

    The single full-resolution convolution is pooled at once, before batch norm and activation;
    every halving of the side doubles the channels. At width 64 and 32 pixels: 96 million
    multiply-adds an image, 1.9 million parameters.

    Source: D. Page, "How to train your ResNet" (2018): convolution, pooling, batch norm and
    activation in that order, residuals after the activation, a max-pooled head, scaled logits.
    Deviation: pooled one stage earlier and residual in all three stages: a quarter of the
    arithmetic at the same width. ReLU, because GELU made training slower on a CPU in bfloat16.
    """

    def __init__(self, num_classes: int, width: int = 64, batch_norm_momentum: float = 0.1) -> None:
        super().__init__()
        momentum = batch_norm_momentum
        self.stem = layer(3, width, momentum, halve=True)
        self.stage1 = Residual(width, momentum)
        self.down2 = layer(width, 2 * width, momentum, halve=True)
        self.stage2 = Residual(2 * width, momentum)
        self.down3 = layer(2 * width, 4 * width, momentum, halve=True)
        self.stage3 = Residual(4 * width, momentum)
        self.head = nn.Linear(4 * width, num_classes, bias=False)

    def forward(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n k"]:
        """Give the logits of normalised images."""
        features = self.stage1(self.stem(images))
        features = self.stage2(self.down2(features))
        features = self.stage3(self.down3(features))
        return self.head(features.amax((2, 3))) * LOGIT_SCALE


class Residual(nn.Module):
    """Add two layers to the identity."""

    def __init__(self, channels: int, momentum: float) -> None:
        super().__init__()
        self.first = layer(channels, channels, momentum)
        self.second = layer(channels, channels, momentum)

    def forward(self, features: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Add what two layers make of the features."""
        return features + self.second(self.first(features))


def layer(
    in_channels: int, out_channels: int, momentum: float, *, halve: bool = False
) -> nn.Sequential:
    """Make a 3x3 convolution, a 2x2 max-pool where the side is halved, batch norm and ReLU."""
    convolution = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
    pool = [nn.MaxPool2d(2)] if halve else []
    return nn.Sequential(
        convolution, *pool, nn.BatchNorm2d(out_channels, momentum=momentum), nn.ReLU(inplace=True)
    )
