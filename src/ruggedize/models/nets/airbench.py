"""Airbench: a network for 32-pixel images and few epochs, with a whitening layer and 3 blocks."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ruggedize.models.architecture import Architecture
from ruggedize.models.initialisation import fan_in_uniform, filling, identity_then_uniform
from ruggedize.models.options import AirbenchOptions

PATCH = 2  # side in pixels of the patches that the first layer whitens
NUM_FILTERS = 2 * 3 * PATCH**2  # each principal direction and its opposite
EXTRA_VARIANCE = 5e-4  # added to every direction, so that flat patches are not amplified
LOGIT_SCALE = 1 / 9
FIT_BATCH = 100  # number of images whose patches are in memory at a time


class Airbench(nn.Module):
    """Whitened patches, three blocks of two convolutions, global max-pooling and a linear head.

    At width 64 and 32 pixels: 118 million multiply-adds per image, 2.0 million parameters.

    Source: K. Jordan 2024, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU": the layout, the
    frozen first layer, kernels initialised as the identity, batch norm without a scale.
    Deviation: the max-pooling is global, so that inputs need not have 32 pixels; the biases of the
    whitening layer are trained in all epochs; biases and shifts have no weight decay (like all
    one-dimensional weights here); the epsilon of batch norm is 1e-5, not 1e-12.
    """

    def __init__(self, num_classes: int, width: int = 64, batch_norm_momentum: float = 0.4) -> None:
        super().__init__()
        momentum = batch_norm_momentum
        self.whitening = Whitening()
        self.block1 = Block(NUM_FILTERS, width, momentum)
        self.block2 = Block(width, 4 * width, momentum)
        self.block3 = Block(4 * width, 4 * width, momentum)
        self.head = nn.Linear(4 * width, num_classes, bias=False)

    def forward(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n k"]:
        """Return the logits for normalised images of at least 16 pixels."""
        features = self.block3(self.block2(self.block1(F.gelu(self.whitening(images)))))
        return self.head(features.amax((2, 3))) * LOGIT_SCALE


class Whitening(nn.Module):
    """A frozen convolution, fitted so that its outputs are uncorrelated with a mean square of 1."""

    weight: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(NUM_FILTERS, 3, PATCH, PATCH))
        self.bias = nn.Parameter(torch.zeros(NUM_FILTERS))

    def forward(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n c h-1 w-1"]:
        """Project every patch onto the whitening filters."""
        return F.conv2d(images, self.weight, self.bias)

    @torch.no_grad()
    def fit(self, images: Float[Tensor, "n 3 h w"]) -> None:
        """Set the filters to the scaled principal directions of the images' patches."""
        total, num_patches = torch.zeros(3 * PATCH**2, 3 * PATCH**2, dtype=torch.float64), 0
        for batch in images.split(FIT_BATCH):
            patches = batch.unfold(2, PATCH, 1).unfold(3, PATCH, 1).permute(0, 2, 3, 1, 4, 5)
            patches = patches.reshape(-1, 3 * PATCH**2).double()
            total += patches.T @ patches
            num_patches += len(patches)
        variances, directions = torch.linalg.eigh(total / num_patches)
        largest = directions.abs().argmax(0, keepdim=True)
        directions *= directions.gather(0, largest).sign()  # the sign of eigenvectors is arbitrary
        filters = (directions / (variances + EXTRA_VARIANCE).sqrt()).T
        filters = filters.reshape(-1, 3, PATCH, PATCH)
        self.weight.copy_(torch.cat([filters, -filters]))
        self.bias.zero_()


class Block(nn.Module):
    """Two convolutions, with 2x2 max-pooling after the first."""

    def __init__(self, in_channels: int, out_channels: int, momentum: float) -> None:
        super().__init__()
        self.first = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.norm1 = ShiftingBatchNorm(out_channels, momentum=momentum)
        self.second = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = ShiftingBatchNorm(out_channels, momentum=momentum)

    def forward(self, features: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h2 w2"]:
        """Return features with half the height and width."""
        halved = F.gelu(self.norm1(F.max_pool2d(self.first(features), 2)))
        return F.gelu(self.norm2(self.second(halved)))


class ShiftingBatchNorm(nn.BatchNorm2d):
    """Batch norm with a learned shift and a fixed scale of 1."""

    def __init__(self, num_features: int, momentum: float) -> None:
        super().__init__(num_features, momentum=momentum)
        del self.weight
        self.register_buffer("weight", torch.ones(num_features))


def layout(options: AirbenchOptions, num_classes: int) -> Airbench:
    """Build the network that the options describe."""
    return Airbench(num_classes, options.width, options.batch_norm_momentum)


def fit(network: Airbench, images: Float[Tensor, "n 3 h w"]) -> None:
    """Fit the first layer to normalised images."""
    network.whitening.fit(images)


ARCHITECTURE = Architecture(layout, filling(identity_then_uniform, fan_in_uniform), fit, 9)
