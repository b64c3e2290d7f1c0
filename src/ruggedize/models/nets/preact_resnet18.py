"""Pre-activation ResNet-18 for 32-pixel images."""

from jaxtyping import Float
from torch import Tensor, nn

from ruggedize.models.architecture import Architecture
from ruggedize.models.dropping import RowKeys, Rows, drop_branches, drop_values
from ruggedize.models.initialisation import fan_in_uniform, filling, he_normal
from ruggedize.models.options import PreActResNet18Options

STAGE_STRIDES = (1, 2, 2, 2)
BLOCKS_PER_STAGE = 2


class PreActResNet18(nn.Module):
    """Four stages of two blocks, with 11.17 million weights at width 64 and ten classes.

    Source: He et al. 2016 (identity mappings), with the usual 3x3 stem for CIFAR.
    """

    def __init__(
        self, num_classes: int, width: int = 64, dropout: float = 0.0, stochastic_depth: float = 0.0
    ) -> None:
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
        self.row_keys = row_keys(self.stages, dropout, stochastic_depth)

    def forward(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n k"]:
        """Return the logits for normalised images."""
        rows = self.row_keys(images) if self.row_keys is not None and self.training else None
        features = self.post(apply_stages(self.stages, self.stem(images), rows))
        return self.head(features.mean((2, 3)))


class PreActBlock(nn.Module):
    """Batch norm, ReLU and 3x3 convolution, twice; the shortcut is projected if shapes differ."""

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, negative_slope: float = 0.0
    ) -> None:
        super().__init__()
        changes = stride != 1 or in_channels != out_channels
        self.before = norm(in_channels, negative_slope)
        self.shortcut = (
            nn.Conv2d(in_channels, out_channels, 1, stride, bias=False) if changes else None
        )
        self.branch = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False),
            norm(out_channels, negative_slope),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
        )
        self.number, self.dropout, self.drop_rate = 0, 0.0, 0.0  # set by `row_keys`

    def forward(
        self, features: Float[Tensor, "n c h w"], rows: Rows | None = None
    ) -> Float[Tensor, "n d i j"]:
        """Return the shortcut plus the residual branch, which is dropped at random given `rows`."""
        active = self.before(features)
        shortcut = features if self.shortcut is None else self.shortcut(active)
        if rows is None:
            return shortcut + self.branch(active)
        first, between, second = self.branch
        inner, counter = between(first(active)), 2 * self.number
        if self.dropout:
            inner = drop_values(inner, rows, counter, self.dropout)
        return shortcut + drop_branches(second(inner), rows, counter + 1, self.drop_rate)


def stage(
    in_channels: int, out_channels: int, num_blocks: int, stride: int, negative_slope: float = 0.0
) -> nn.Sequential:
    """Build a stage; its first block changes the number of channels and applies the stride."""
    first = PreActBlock(in_channels, out_channels, stride, negative_slope)
    others = [
        PreActBlock(out_channels, out_channels, 1, negative_slope) for _ in range(num_blocks - 1)
    ]
    return nn.Sequential(first, *others)


def norm(channels: int, negative_slope: float = 0.0) -> nn.Sequential:
    """Build batch norm and ReLU, or leaky ReLU."""
    if negative_slope:
        return nn.Sequential(nn.BatchNorm2d(channels), nn.LeakyReLU(negative_slope, inplace=True))
    return nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(inplace=True))


def row_keys(stages: nn.Module, dropout: float, stochastic_depth: float) -> RowKeys | None:
    """Set the drop rates of all blocks; return the layer that keys the masks, if there are any.

    Branches are dropped at a rate that grows linearly, to `stochastic_depth` in the last block.
    """
    blocks = [module for module in stages.modules() if isinstance(module, PreActBlock)]
    for number, block in enumerate(blocks, 1):
        block.number, block.dropout = number, dropout
        block.drop_rate = stochastic_depth * number / len(blocks)
    return RowKeys() if dropout or stochastic_depth else None


def apply_stages(
    stages: nn.Sequential, features: Float[Tensor, "n c h w"], rows: Rows | None
) -> Float[Tensor, "n d i j"]:
    """Apply all blocks, one after the other."""
    for blocks in stages:
        assert isinstance(blocks, nn.Sequential)
        for block in blocks:
            features = block(features, rows)
    return features


def layout(options: PreActResNet18Options, num_classes: int) -> PreActResNet18:
    """Build the network that the options describe."""
    return PreActResNet18(num_classes, options.width, options.dropout, options.stochastic_depth)


ARCHITECTURE = Architecture(layout, filling(he_normal, fan_in_uniform))
