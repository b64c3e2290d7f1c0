"""RandAugment, chains of noise and corruptions as modules."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import nn

from ruggedize.core.seeding import stream_key
from ruggedize.corruptions import (
    Corruption,
    Preset,
    checked_severity,
    complete,
    corrupt_indexed,
    find,
    resolve_preset,
)
from ruggedize.kernels.types import Images
from ruggedize.transforms.arguments import checked
from ruggedize.transforms.draws import Indices, drawn_seed, indices_of
from ruggedize.transforms.pictures import Picture, changed
from ruggedize.views import (
    BaseNoise,
    NoiseOptions,
    OneOfOptions,
    RandAugmentOptions,
    Semantics,
    apply_noise,
    randaugment_into,
)

BLANK = 64  # pixels: the smallest side that every semantics of RandAugment takes


class RandAugment(nn.Module):
    """RandAugment with its own random operations for every image.

    Args:
        num_ops: operations applied to each image, one after the other.
        magnitude: strength, 0-10, or 0-30 for "torchvision".
        semantics: implementation: "tf", "tf-2021", "torchvision", "timm" or "timm-inc1".

    Source: Cubuk et al. 2020.
    """

    def __init__(
        self, num_ops: int = 2, magnitude: int = 9, *, semantics: Semantics = "tf"
    ) -> None:
        super().__init__()
        values = {"num_layers": num_ops, "magnitude": magnitude, "semantics": semantics}
        self.options = checked(RandAugmentOptions, values, {"num_layers": "num_ops"})
        load_kernels(self)

    def forward(
        self,
        images: Picture,
        *,
        seed: int | None = None,
        epoch: int = 0,
        index: Indices | None = None,
    ) -> Picture:
        """Return augmented images: a uint8 RGB batch, one image or a Pillow image, as given."""
        call_seed = drawn_seed(seed, epoch, index)

        def augment(batch: Images) -> Images:
            source = np.ascontiguousarray(batch.numpy())
            out = np.empty_like(source)
            stream = stream_key(call_seed, "randaugment", epoch)
            randaugment_into(source, out, indices_of(index, len(source)), stream, self.options)
            return torch.from_numpy(out)

        return changed(images, augment)

    def extra_repr(self) -> str:
        """Return the options, for printing."""
        options = self.options
        return (
            f"num_ops={options.num_layers}, magnitude={options.magnitude}, "
            f"semantics={options.semantics!r}"
        )


class NoiseChain(nn.Module):
    """A chain of noise, like `views.noise` of a recipe.

    Args:
        noise: the links, in order: options of `ruggedize.views`, such as `RandAugmentOptions`, or
            a `CustomNoise` of your own.

    Raises:
        ValueError: a link is of another type, or mixes images.
    """

    def __init__(self, noise: Sequence[NoiseOptions]) -> None:
        super().__init__()
        self.noise = tuple(noise)
        for link in self.noise:
            reject_other_link(link)
        load_kernels(self)

    def forward(
        self,
        images: Picture,
        *,
        seed: int | None = None,
        epoch: int = 0,
        index: Indices | None = None,
    ) -> Picture:
        """Return noisy images: a uint8 RGB batch, one image or a Pillow image, as given."""
        call_seed = drawn_seed(seed, epoch, index)

        def add(batch: Images) -> Images:
            noisy = apply_noise(batch, indices_of(index, len(batch)), self.noise, call_seed, epoch)
            return noisy.clone() if noisy is batch else noisy

        return changed(images, add)

    def extra_repr(self) -> str:
        """Return the links, for printing."""
        return ", ".join(map(repr, self.noise))


class Corrupt(nn.Module):
    """One of the nineteen corruptions, at one severity.

    Args:
        corruption: a name in `ruggedize.CORRUPTIONS`, or a `Corruption` of your own.
        severity: 1 (mild) to 5.
        preset: `cifar`, `imagenet`, `scaled` or `auto`, by the size of the images.
        options: options of this corruption.

    Raises:
        ValueError: a name, the severity or an option is not one of those.
    """

    def __init__(
        self,
        corruption: str | Corruption,
        severity: int,
        *,
        preset: Preset | Literal["auto"] = "auto",
        options: dict[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.corruption, self.severity = find(corruption), checked_severity(severity)
        self.preset: Preset | Literal["auto"] = preset
        resolve_preset(preset, BLANK, BLANK)
        self.options = complete(self.corruption.name, self.corruption.options, options or {})

    def forward(
        self,
        images: Picture,
        *,
        seed: int | None = None,
        epoch: int = 0,
        index: Indices | None = None,
    ) -> Picture:
        """Return corrupted images: a uint8 RGB batch, one image or a Pillow image, as given.

        In epoch 0, the result for a seed and an index is that of `ruggedize.corrupt`.
        """
        call_seed = drawn_seed(seed, epoch, index)
        if epoch:
            call_seed = int(stream_key(call_seed, "corrupt-epoch", epoch))

        def corrupt(batch: Images) -> Images:
            indices = indices_of(index, len(batch))
            settings = {"seed": call_seed, "preset": self.preset, "options": self.options}
            return corrupt_indexed(batch, indices, self.corruption, self.severity, **settings)

        return changed(images, corrupt)

    def extra_repr(self) -> str:
        """Return the options, for printing."""
        return f"{self.corruption.name!r}, severity={self.severity}, preset={self.preset!r}"


def reject_other_link(link: object) -> None:
    """Raise ValueError unless an object is a link of a chain that needs no partner images."""
    if isinstance(link, OneOfOptions):
        for choice in link.one_of:
            reject_other_link(choice)
        return
    if not isinstance(link, BaseNoise):
        raise ValueError(
            f"a link must be options of ruggedize.views or a CustomNoise, got {link!r};\n"
            "for example RandAugmentOptions(magnitude=9)"
        )
    if link.mixes != "nothing":
        raise ValueError(
            f"NoiseChain does not support {type(link).__name__}, which mixes each image with "
            "another one;\nremove it, or use it in a recipe"
        )


def load_kernels(transform: nn.Module) -> None:
    """Apply a transform to a blank image, so that its compiled kernels are loaded here.

    A DataLoader's worker processes that are forked from this one inherit them; otherwise each
    worker would load or even compile them in every epoch.
    """
    transform(torch.zeros(3, BLANK, BLANK, dtype=torch.uint8), seed=0, index=0)
