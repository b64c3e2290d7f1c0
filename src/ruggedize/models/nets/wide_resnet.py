"""Wide residual network (WRN) for 32-pixel images."""

from jaxtyping import Float
from torch import Tensor, nn

from ruggedize.models.architecture import Architecture
from ruggedize.models.initialisation import fan_in_uniform, filling, he_normal
from ruggedize.models.nets.preact_resnet18 import apply_stages, norm, row_keys, stage
from ruggedize.models.options import WideResNetOptions

STEM_CHANNELS = 16


class WideResNet(nn.Module):
    """WRN-depth-width: three stages of (depth - 4) / 6 blocks; 28-10 has 36.5 million weights.

    Source: Zagoruyko & Komodakis 2016, with dropout between the two convolutions of a block.
    """

    def __init__(self, num_classes: int, options: WideResNetOptions) -> None:
        super().__init__()
        num_blocks, slope = (options.depth - 4) // 6, options.negative_slope
        channels = [STEM_CHANNELS * options.width * factor for factor in (1, 2, 4)]
        self.stem = nn.Conv2d(3, STEM_CHANNELS, 3, padding=1, bias=False)
        self.stages = nn.Sequential(
            stage(STEM_CHANNELS, channels[0], num_blocks, 1, slope),
            stage(channels[0], channels[1], num_blocks, 2, slope),
            stage(channels[1], channels[2], num_blocks, 2, slope),
        )
        self.post = norm(channels[2], slope)
        self.head = nn.Linear(channels[2], num_classes)
        self.row_keys = row_keys(self.stages, options.dropout, options.stochastic_depth)

    def forward(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n k"]:
        """Return the logits for normalised images."""
        rows = self.row_keys(images) if self.row_keys is not None and self.training else None
        features = self.post(apply_stages(self.stages, self.stem(images), rows))
        return self.head(features.mean((2, 3)))


def layout(options: WideResNetOptions, num_classes: int) -> WideResNet:
    """Build the network that the options describe."""
    return WideResNet(num_classes, options)


ARCHITECTURE = Architecture(layout, filling(he_normal, fan_in_uniform))
