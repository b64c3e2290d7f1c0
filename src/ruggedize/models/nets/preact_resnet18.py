"""Pre-activation ResNet-18 for 32-pixel images."""

from jaxtyping import Float
from torch import Tensor, nn

from ruggedize.models.architecture import Architecture
from ruggedize.models.initialisation import fan_in_uniform, filling, he_normal
from ruggedize.models.options import PreActResNet18Options

STAGE_STRIDES = (1, 2, 2, 2)
BLOCKS_PER_STAGE = 2


class PreActResNet18(nn.Module):
    """Four stages of two blocks, with 11.17 million weights at width 64 and ten classes.

    Source: He et al. 2016 (identity mappings), with the usual 3x3 stem for CIFAR.
    """

    def __init__(self, num_classes: int, width: int = 64) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1, bias=False)
        stages: list[nn.Module] = []
        in_channels = width
        for number, stride in enumerate(STAGE_STRIDES):
            stages.append(stage(in_channels, width << number, BLOCKS_PER_STAGE, stride))
            in_channels = width << number
        self.stages = nn.Sequential(*stages)
        self.post = norm(in_channels)
        self.head = nn.Linear(in_channels, num_classes)

    def forward(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n k"]:
        """Return the logits for normalised images."""
        features = self.post(self.stages(self.stem(images)))
        return self.head(features.mean((2, 3)))


class PreActBlock(nn.Module):
    """Batch norm, ReLU and 3x3 convolution, twice; the shortcut is projected if shapes differ."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        changes = stride != 1 or in_channels != out_channels
        self.before = norm(in_channels)
        self.shortcut = (
            nn.Conv2d(in_channels, out_channels, 1, stride, bias=False) if changes else None
        )
        self.branch = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False),
            norm(out_channels),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
        )

    def forward(self, features: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d i j"]:
        """Return the shortcut plus the residual branch."""
        active = self.before(features)
        shortcut = features if self.shortcut is None else self.shortcut(active)
        return shortcut + self.branch(active)


def stage(in_channels: int, out_channels: int, num_blocks: int, stride: int) -> nn.Sequential:
    """Build a stage; its first block changes the number of channels and applies the stride."""
    first = PreActBlock(in_channels, out_channels, stride)
    others = [PreActBlock(out_channels, out_channels, 1) for _ in range(num_blocks - 1)]
    return nn.Sequential(first, *others)


def norm(channels: int) -> nn.Sequential:
    """Build batch norm and ReLU."""
    return nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(inplace=True))


def layout(options: PreActResNet18Options, num_classes: int) -> PreActResNet18:
    """Build the network that the options describe."""
    return PreActResNet18(num_classes, options.width)


ARCHITECTURE = Architecture(layout, filling(he_normal, fan_in_uniform))
