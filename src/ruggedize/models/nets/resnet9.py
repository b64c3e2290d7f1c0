"""ResNet9: a small, fast residual network of eight convolutions and a linear layer."""

from jaxtyping import Float
from torch import Tensor, nn

from ruggedize.models.architecture import Architecture
from ruggedize.models.initialisation import fan_in_uniform, filling
from ruggedize.models.options import ResNet9Options

LOGIT_SCALE = 0.125  # keeps the initial logits small after max-pooling


class ResNet9(nn.Module):
    """A residual network that learns CIFAR-10 in a few epochs.

    At width 32 and 32 pixels: 95 million multiply-adds per image, 1.6 million parameters.

    Source: D. Page, "How to train your ResNet" (2018): convolution, pooling, batch norm and
    activation in that order, residuals after the activation, global max-pooling, scaled logits.
    A variant that pools right after the stem needs a quarter of the operations at equal width, but
    is less accurate after the same time (docs/lab-notes.md). The activation is ReLU, because GELU
    made training slower on a CPU in bfloat16.
    """

    def __init__(self, num_classes: int, width: int = 64, batch_norm_momentum: float = 0.1) -> None:
        super().__init__()
        momentum = batch_norm_momentum
        self.stem = layer(3, width, momentum)
        self.down1 = layer(width, 2 * width, momentum, halve=True)
        self.stage1 = Residual(2 * width, momentum)
        self.down2 = layer(2 * width, 4 * width, momentum, halve=True)
        self.down3 = layer(4 * width, 8 * width, momentum, halve=True)
        self.stage3 = Residual(8 * width, momentum)
        self.head = nn.Linear(8 * width, num_classes, bias=False)

    def forward(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n k"]:
        """Return the logits for normalised images."""
        features = self.stage1(self.down1(self.stem(images)))
        features = self.stage3(self.down3(self.down2(features)))
        return self.head(features.amax((2, 3))) * LOGIT_SCALE


class Residual(nn.Module):
    """Two layers with a residual connection around them."""

    def __init__(self, channels: int, momentum: float) -> None:
        super().__init__()
        self.first = layer(channels, channels, momentum)
        self.second = layer(channels, channels, momentum)

    def forward(self, features: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Return the features plus the output of both layers."""
        return features + self.second(self.first(features))


def layer(
    in_channels: int, out_channels: int, momentum: float, *, halve: bool = False
) -> nn.Sequential:
    """Build a 3x3 convolution, 2x2 max-pooling if `halve`, batch norm and ReLU."""
    convolution = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
    pool = [nn.MaxPool2d(2)] if halve else []
    return nn.Sequential(
        convolution, *pool, nn.BatchNorm2d(out_channels, momentum=momentum), nn.ReLU(inplace=True)
    )


def layout(options: ResNet9Options, num_classes: int) -> ResNet9:
    """Build the network that the options describe."""
    return ResNet9(num_classes, options.width, options.batch_norm_momentum)


ARCHITECTURE = Architecture(layout, filling(fan_in_uniform, fan_in_uniform), None, 8)
