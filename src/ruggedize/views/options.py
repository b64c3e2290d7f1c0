"""How views are made: the `[views]` part of a recipe. Imports neither torch nor numba."""

from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, model_validator

from ruggedize.core.errors import UserError
from ruggedize.views.operations import SEMANTICS

Semantics = Literal["tf", "tf-2021", "torchvision", "timm", "timm-inc1"]  # whose RandAugment
Probability = Annotated[float, Field(ge=0, le=1)]

DESCRIBED = ConfigDict(
    frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
)
LARGEST_SIDE = 1024  # of views, as of stored images; a slip beyond it would take all memory
SMALLEST_TF_2021 = 64  # below this its 90-pixel translations and 36-pixel squares leave nothing


class RandAugmentOptions(BaseModel):
    """RandAugment (Cubuk et al. 2020): every image draws its own operations and signs."""

    model_config = DESCRIBED

    kind: Literal["randaugment"] = "randaugment"
    """Names this kind of noise."""
    num_layers: int = Field(default=2, ge=1, le=10)
    """Operations applied to each image, one after the other."""
    magnitude: int = Field(default=9, ge=0)
    """Strength of the operations: 0-10, and 0-30 for "torchvision", whose scale has 31 steps."""
    semantics: Semantics = "tf"
    """Whose RandAugment. "tf" is the Keras example's, mended; "tf-2021" keeps its faults."""

    @model_validator(mode="after")
    def check_magnitude(self) -> "RandAugmentOptions":
        """Reject a magnitude beyond the scale of the semantics."""
        scale = SEMANTICS[self.semantics].scale
        if self.magnitude > scale:
            raise ValueError(
                f"magnitude must be 0-{scale} with semantics {self.semantics!r}, "
                f"got {self.magnitude}; only 'torchvision' counts to 30"
            )
        return self


class RandomErasingOptions(BaseModel):
    """Random erasing (Zhong et al. 2020): a rectangle of the image is overwritten."""

    model_config = DESCRIBED

    kind: Literal["random_erasing"] = "random_erasing"
    """Names this kind of noise."""
    probability: Probability = 0.5
    """Chance that an image has a rectangle erased."""
    area: tuple[Probability, Probability] = (0.02, 0.4)
    """Smallest and largest area of the rectangle, as fractions of the image's."""
    aspect: tuple[float, float] = (0.3, 3.3)
    """Smallest and largest ratio of the rectangle's height to its width."""
    fill: Literal["grey", "noise"] = "grey"
    """What the rectangle is filled with: grey 128, or a random value for every pixel."""

    @model_validator(mode="after")
    def check_ranges(self) -> "RandomErasingOptions":
        """Reject ranges that are empty or whose rectangles never fit."""
        if self.area[0] > self.area[1]:
            raise ValueError(f"area must be (smallest, largest), got {self.area}; exchange them")
        if not 0 < self.aspect[0] <= self.aspect[1]:
            raise ValueError(
                f"aspect must be (smallest, largest), both above 0, got {self.aspect}; "
                "(0.3, 3.3) is usual"
            )
        return self


class AdditiveNoiseOptions(BaseModel):
    """Noise added to every value of an image; it overlaps the benchmark's four noises."""

    model_config = DESCRIBED

    kind: Literal["additive_noise"] = "additive_noise"
    """Names this kind of noise."""
    probability: Probability = 1.0
    """Chance that an image gets any noise."""
    std: float = Field(default=0.1, gt=0, le=1)
    """Largest standard deviation, where 1 is white; each image draws its own from 0 to this."""
    distribution: Literal["gaussian", "uniform"] = "gaussian"
    """Shape of the noise; both have the standard deviation that was drawn."""


class CustomNoise(BaseModel):
    """A kind of noise of your own, passed from Python: subclass it and define `apply`."""

    model_config = DESCRIBED

    kind: Literal["custom"] = "custom"
    """Names this kind of noise; a recipe file cannot hold it."""
    name: str
    """What it is called in reports; its random draws belong to this name."""

    @model_validator(mode="after")
    def check_subclass(self) -> "CustomNoise":
        """Reject the base class: a recipe file names a kind and cannot bring its code along."""
        if type(self) is CustomNoise:
            raise ValueError("custom noise is passed from Python; name a shipped kind here")
        return self

    def apply(
        self, images: np.ndarray, out: np.ndarray, index: np.ndarray, stream: np.uint64
    ) -> None:
        """Write the noisy images.

        Args:
            images: uint8 `[n, 3, h, w]`, not to be changed.
            out: the same shape; written completely.
            index: int64 `[n]`, each image's number in the data set.
            stream: with an image's index it decides every draw:
                `seeding.image_generator(stream, index[i])`.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define apply")

    def overlaps(self) -> dict[str, tuple[str, ...]]:
        """Return the corruptions that this noise overlaps, by what the report calls it."""
        return {}


NoiseOptions = Annotated[
    RandAugmentOptions | RandomErasingOptions | AdditiveNoiseOptions | SerializeAsAny[CustomNoise],
    Field(discriminator="kind"),
]


class ViewOptions(BaseModel):
    """How the clean and the noisy view are made from a stored image.

    With `resize`: flip, resize, random crop. With `pad` or `crop` alone: flip, pad with black,
    random crop. With neither: flip only.
    """

    model_config = DESCRIBED

    resize: int | None = Field(default=None, ge=1, le=LARGEST_SIDE)
    """Side in pixels that stored images are resized to before the crop; none: not resized."""
    crop: int | None = Field(default=None, ge=1, le=LARGEST_SIDE)
    """Side in pixels of the random crop, which is what the model sees; none: the whole side."""
    pad: int = Field(default=0, ge=0, le=LARGEST_SIDE)
    """Black pixels added on each side before the crop (4 is usual at 32 px); not with `resize`."""
    flip: bool = True
    """Mirror half of the views left to right; turn it off for digits and letters."""
    geometry: Literal["independent", "shared"] = "independent"
    """Whether the two views of an image draw their own flip and crop, or have them in common."""
    noise: tuple[NoiseOptions, ...] = ()
    """What the noisy view gets after the geometry, in this order; RandAugment comes first."""

    @model_validator(mode="after")
    def check_geometry(self) -> "ViewOptions":
        """Reject sizes that contradict each other whatever the image."""
        if self.resize is not None and self.pad:
            raise ValueError(
                f"pad = {self.pad} and resize = {self.resize} exclude each other; set views.pad = 0"
            )
        if self.resize is not None and self.crop is not None and self.crop > self.resize:
            raise ValueError(
                f"crop must be at most resize ({self.resize}), got {self.crop}; "
                "make resize larger or crop smaller"
            )
        return self

    @model_validator(mode="after")
    def check_noise(self) -> "ViewOptions":
        """Reject a chain in which RandAugment is not the first."""
        if any(noise.kind == "randaugment" for noise in self.noise[1:]):
            raise ValueError(
                f"randaugment must come first, and once, in noise, got "
                f"{', '.join(noise.kind for noise in self.noise)}; move it to the front"
            )
        return self

    def input_size(self, image_size: int) -> int:
        """Return the side of the views, which is what the model sees, for stored images."""
        return self.crop or self.resize or image_size

    def check_image_size(self, image_size: int) -> None:
        """Raise UserError for stored images that these views cannot be made from."""
        room = self.resize or image_size + 2 * self.pad
        if self.crop is not None and self.crop > room:
            raise UserError(
                f"views: crop must be at most {room} for {image_size}-pixel images, "
                f"got {self.crop}; set views.resize to at least the crop, and views.pad = 0"
            )
        side = self.input_size(image_size)
        for noise in self.noise:
            if noise.kind == "randaugment" and noise.semantics == "tf-2021":
                check_tf_2021(side)


def check_tf_2021(side: int) -> None:
    """Raise UserError for views so small that the faults of `tf-2021` leave nothing of them."""
    if side < SMALLEST_TF_2021:
        raise UserError(
            f"views: semantics 'tf-2021' needs views of at least {SMALLEST_TF_2021} pixels, "
            f"got {side}; use semantics 'tf', or a larger crop"
        )
