"""ResNet50V2, identical to Keras' application."""

from jaxtyping import Float
from torch import Tensor, nn

from ruggedize.models.architecture import Architecture
from ruggedize.models.initialisation import filling, glorot_uniform
from ruggedize.models.options import ResNet50V2Options

EPSILON = 1.001e-5
MOMENTUM = 0.01  # 0.99 in Keras, where momentum is the weight of the old statistics
STAGES = ((64, 3, 2), (128, 4, 2), (256, 6, 2), (512, 3, 1))  # bottleneck channels, blocks, stride
EXPANSION = 4


class ResNet50V2(nn.Module):
    """Pre-activation bottlenecks; the stride is in the last block of a stage.

    With ten classes, Keras counts 23,585,290 parameters: 23,564,800 in the application (including
    running means and variances) and 20,490 in the head.

    Source: He et al. 2016 (identity mappings); `keras.applications.ResNet50V2`.
    Deviation: torch divides the running variance by count - 1, Keras by count.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 64, 7, stride=2, padding=3),
            nn.ZeroPad2d(1),  # zeros as in Keras; MaxPool2d pads with minus infinity
            nn.MaxPool2d(3, stride=2),
        )
        blocks: list[nn.Module] = []
        in_channels = 64
        for channels, num_blocks, stride in STAGES:
            for position in range(num_blocks):
                is_last = position == num_blocks - 1
                blocks.append(
                    Bottleneck(
                        in_channels,
                        channels,
                        stride=stride if is_last else 1,
                        projects=position == 0,
                    )
                )
                in_channels = EXPANSION * channels
        self.blocks = nn.Sequential(*blocks)
        self.post = norm(in_channels)
        self.head = nn.Linear(in_channels, num_classes)

    def forward(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n k"]:
        """Return the logits for normalised images."""
        features = self.post(self.blocks(self.stem(images)))
        return self.head(features.mean((2, 3)))


class Bottleneck(nn.Module):
    """Convolutions 1x1, 3x3, 1x1, plus a shortcut: a projection, a strided input or the input."""

    def __init__(self, in_channels: int, channels: int, *, stride: int, projects: bool) -> None:
        super().__init__()
        out_channels = EXPANSION * channels
        self.before = norm(in_channels)
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1, stride) if projects else None
        self.skip = nn.MaxPool2d(1, stride) if stride > 1 else nn.Identity()
        self.branch = nn.Sequential(
            nn.Conv2d(in_channels, channels, 1, bias=False),
            norm(channels),
            nn.Conv2d(channels, channels, 3, stride, padding=1, bias=False),
            norm(channels),
            nn.Conv2d(channels, out_channels, 1),
        )

    def forward(self, features: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d i j"]:
        """Return the shortcut plus the residual branch."""
        active = self.before(features)
        shortcut = self.skip(features) if self.shortcut is None else self.shortcut(active)
        return shortcut + self.branch(active)


def norm(channels: int) -> nn.Sequential:
    """Build batch norm with Keras' settings, followed by ReLU."""
    batch_norm = nn.BatchNorm2d(channels, eps=EPSILON, momentum=MOMENTUM)
    return nn.Sequential(batch_norm, nn.ReLU(inplace=True))


def layout(options: ResNet50V2Options, num_classes: int) -> ResNet50V2:
    """Build the network that the options describe."""
    return ResNet50V2(num_classes)


ARCHITECTURE = Architecture(layout, filling(glorot_uniform, glorot_uniform))
