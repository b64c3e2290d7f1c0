"""The options of the kinds of noise. Imports neither torch nor numba."""

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, model_validator

from ruggedize.views.operations import SEMANTICS

Semantics = Literal[
    "tf", "tf-2021", "torchvision", "timm", "timm-inc1"
]  # implementations of RandAugment
Probability = Annotated[float, Field(ge=0, le=1)]

DESCRIBED = ConfigDict(
    frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
)


class BaseNoise(BaseModel):
    """What a kind of noise needs besides the image; a subclass states what differs."""

    model_config = DESCRIBED
    mixes: ClassVar[Literal["nothing", "images", "images and labels"]] = "nothing"


class RandAugmentOptions(BaseNoise):
    """RandAugment (Cubuk et al. 2020), with random operations for every image."""

    kind: Literal["randaugment"] = "randaugment"
    """Selects this kind of noise."""
    num_layers: int = Field(default=2, ge=1, le=10)
    """Operations applied to each image, one after the other."""
    magnitude: int = Field(default=9, ge=0)
    """Strength of the operations: 0-10, or 0-30 for "torchvision"."""
    semantics: Semantics = "tf"
    """Implementation: "tf" is that of the Keras example without its bugs; "tf-2021" has them."""

    @model_validator(mode="after")
    def check_magnitude(self) -> "RandAugmentOptions":
        """Reject a magnitude above the maximum of the semantics."""
        scale = SEMANTICS[self.semantics].scale
        if self.magnitude > scale:
            raise ValueError(
                f"magnitude must be in 0..{scale} with semantics {self.semantics!r}, "
                f"got {self.magnitude}; lower it, or use semantics 'torchvision' (0..30)"
            )
        return self


class TrivialAugmentOptions(BaseNoise):
    """TrivialAugment, wide (Müller & Hutter 2021): one operation of random strength per image."""

    kind: Literal["trivialaugment"] = "trivialaugment"
    """Selects this kind of noise."""


class AugMixOptions(BaseNoise):
    """AugMix (Hendrycks et al. 2020): chains of operations, mixed with the image."""

    kind: Literal["augmix"] = "augmix"
    """Selects this kind of noise."""
    width: int = Field(default=3, ge=1, le=10)
    """Number of chains."""
    depth: int = Field(default=3, ge=1, le=10)
    """Maximum number of operations in a chain; drawn uniformly from 1 to this for each chain."""
    severity: float = Field(default=3.0, ge=0.1, le=10)
    """Maximum strength of an operation; strengths are drawn uniformly from 0.1 to this."""
    operations: Literal["strict", "all"] = "strict"
    """Operations: "strict" leaves out Color, Contrast, Brightness and Sharpness, which overlap
    corruptions of the benchmark."""


class RandomErasingOptions(BaseNoise):
    """Random erasing (Zhong et al. 2020): a rectangle of the image is overwritten."""

    kind: Literal["random_erasing"] = "random_erasing"
    """Selects this kind of noise."""
    probability: Probability = 0.5
    """Probability that a rectangle of an image is erased."""
    area: tuple[Probability, Probability] = (0.02, 0.4)
    """Smallest and largest area of the rectangle, as fractions of the image's area."""
    aspect: tuple[float, float] = (0.3, 3.3)
    """Smallest and largest ratio of the rectangle's height to its width."""
    fill: Literal["grey", "noise"] = "grey"
    """Fill of the rectangle: grey (128), or a random value for every pixel and channel."""

    @model_validator(mode="after")
    def check_ranges(self) -> "RandomErasingOptions":
        """Reject empty ranges."""
        if self.area[0] > self.area[1]:
            raise ValueError(f"area must be (smallest, largest), got {self.area}; swap them")
        if not 0 < self.aspect[0] <= self.aspect[1]:
            raise ValueError(
                f"aspect must be (smallest, largest), both above 0, got {self.aspect}; "
                "the usual value is (0.3, 3.3)"
            )
        return self


class AdditiveNoiseOptions(BaseNoise):
    """Noise added to every value of an image; it overlaps the benchmark's noise corruptions."""

    kind: Literal["additive_noise"] = "additive_noise"
    """Selects this kind of noise."""
    probability: Probability = 1.0
    """Probability that noise is added to an image."""
    std: float = Field(default=0.1, gt=0, le=1)
    """Maximum standard deviation (1 is white); drawn uniformly from 0 to this for each image."""
    distribution: Literal["gaussian", "uniform"] = "gaussian"
    """Distribution of the noise; both have the same standard deviation."""


class LpNoiseOptions(BaseNoise):
    """Noise drawn uniformly from an L_p ball; it overlaps the benchmark's noise corruptions."""

    kind: Literal["lp_noise"] = "lp_noise"
    """Selects this kind of noise."""
    norm: Literal["linf", "l2", "l1"] = "linf"
    """Norm of the ball."""
    radius: float | None = Field(default=None, gt=0)
    """Maximum radius (1 is white) at 32 pixels; drawn uniformly from 0 to this for each image. At
    other sizes it is scaled so that each value changes by as much. Default: 0.1 for linf, 5 for l2,
    200 for l1."""
    probability: Probability = 1.0
    """Probability that noise is added to an image."""


class PatchNoiseOptions(BaseNoise):
    """Gaussian noise in a square patch of the image; it overlaps the noise corruptions."""

    kind: Literal["patch_noise"] = "patch_noise"
    """Selects this kind of noise."""
    probability: Probability = 1.0
    """Probability that noise is added to an image."""
    side: float = Field(default=0.78, gt=0, le=2)
    """Maximum side of the patch as a fraction of the image's side; drawn uniformly from one pixel
    to this for each image. The centre of the patch may be anywhere in the image."""
    std: float = Field(default=1.0, gt=0, le=1)
    """Maximum standard deviation (1 is white); drawn uniformly from 0 to this for each image."""


class SpectralFilterOptions(BaseNoise):
    """Random filter, blended with the image in random proportion (PRIME, Modas et al. 2022)."""

    kind: Literal["spectral_filter"] = "spectral_filter"
    """Selects this kind of noise."""
    probability: Probability = 1.0
    """Probability that an image is filtered."""
    size: Literal[3, 5, 7] = 3
    """Rows and columns of the filter."""
    std: float = Field(default=4.0, gt=0, le=100)
    """Standard deviation of the random weights that are added to the identity filter."""


class AmplitudeMixOptions(BaseNoise):
    """The amplitude spectrum is replaced by that of another training image (Chen et al. 2021)."""

    mixes = "images"
    kind: Literal["amplitude_mix"] = "amplitude_mix"
    """Selects this kind of noise."""
    probability: Probability = 0.6
    """Probability that the spectrum of an image is replaced."""


class CutMixOptions(BaseNoise):
    """CutMix (Yun et al. 2019): a rectangle of another image is pasted, and labels are mixed."""

    mixes = "images and labels"
    kind: Literal["cutmix"] = "cutmix"
    """Selects this kind of noise; for the supervised objective only."""
    probability: Probability = 0.5
    """Probability that a rectangle is pasted into an image."""
    alpha: float = Field(default=1.0, gt=0, le=10)
    """The fraction of the image's area that is kept is drawn from Beta(alpha, alpha)."""


class MixUpOptions(BaseNoise):
    """Mixup (Zhang et al. 2018): image and label are blended with those of another image."""

    mixes = "images and labels"
    kind: Literal["mixup"] = "mixup"
    """Selects this kind of noise; for the supervised objective only."""
    probability: Probability = 1.0
    """Probability that an image is blended."""
    alpha: float = Field(default=1.0, gt=0, le=10)
    """The weight of the image is drawn from Beta(alpha, alpha)."""


class CustomNoise(BaseNoise):
    """User-defined noise, passed from Python; subclass this and define `apply`."""

    kind: Literal["custom"] = "custom"
    """Selects this kind of noise; not available in recipe files."""
    name: str
    """Name in reports; the random draws depend on it."""

    @model_validator(mode="after")
    def check_subclass(self) -> "CustomNoise":
        """Reject the base class: a recipe file cannot contain code."""
        if type(self) is CustomNoise:
            raise ValueError("custom noise can only be passed from Python; use a built-in kind")
        return self

    def apply(
        self, images: np.ndarray, out: np.ndarray, index: np.ndarray, stream: np.uint64
    ) -> None:
        """Write the noisy images.

        Args:
            images: uint8 `[n, 3, h, w]`; must not be modified.
            out: output of the same shape; every value must be written.
            index: int64 `[n]`, each image's index in the data set.
            stream: random stream; for image i, draw from
                `seeding.image_generator(stream, index[i])`.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define apply")

    def overlaps(self) -> dict[str, tuple[str, ...]]:
        """Return the corruptions that this noise overlaps, by the name of the noise in reports."""
        return {}


SingleNoise = (
    RandAugmentOptions
    | TrivialAugmentOptions
    | AugMixOptions
    | RandomErasingOptions
    | AdditiveNoiseOptions
    | LpNoiseOptions
    | PatchNoiseOptions
    | SpectralFilterOptions
    | AmplitudeMixOptions
    | CutMixOptions
    | MixUpOptions
    | SerializeAsAny[CustomNoise]
)
