"""Wide residual network (WRN) for 32-pixel images."""

from jaxtyping import Float
from torch import Tensor, nn

from ruggedize.models.architecture import Architecture
from ruggedize.models.initialisation import fan_in_uniform, filling, he_normal
from ruggedize.models.nets.preact_resnet18 import norm, stage
from ruggedize.models.options import WideResNetOptions

STEM_CHANNELS = 16


class WideResNet(nn.Module):
    """WRN-depth-width: three stages of (depth - 4) / 6 blocks; 28-10 has 36.5 million weights.

    Source: Zagoruyko & Komodakis 2016, without dropout.
    """

    def __init__(self, num_classes: int, depth: int = 28, width: int = 10) -> None:
        super().__init__()
        num_blocks = (depth - 4) // 6
        channels = [STEM_CHANNELS * width * factor for factor in (1, 2, 4)]
        self.stem = nn.Conv2d(3, STEM_CHANNELS, 3, padding=1, bias=False)
        self.stages = nn.Sequential(
            stage(STEM_CHANNELS, channels[0], num_blocks, 1),
            stage(channels[0], channels[1], num_blocks, 2),
            stage(channels[1], channels[2], num_blocks, 2),
        )
        self.post = norm(channels[2])
        self.head = nn.Linear(channels[2], num_classes)

    def forward(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n k"]:
        """Return the logits for normalised images."""
        features = self.post(self.stages(self.stem(images)))
        return self.head(features.mean((2, 3)))


def layout(options: WideResNetOptions, num_classes: int) -> WideResNet:
    """Build the network that the options describe."""
    return WideResNet(num_classes, options.depth, options.width)


ARCHITECTURE = Architecture(layout, filling(he_normal, fan_in_uniform))
