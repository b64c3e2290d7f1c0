"""The options of views: the `[views]` table of a recipe. Imports neither torch nor numba."""

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    model_validator,
)

from ruggedize.core.errors import UserError
from ruggedize.views.noise_options import (
    DESCRIBED,
    Probability,
    SingleNoise,
)

Interpolation = Literal["bilinear", "bicubic", "random"]
LARGEST_SIDE = 1024  # of views and stored images, so that a typo does not exhaust memory
CROP_SCALE, CROP_RATIO = (0.08, 1.0), (3 / 4, 4 / 3)  # as in torchvision and timm
SMALLEST_TF_2021 = 64  # in smaller views, shifts by 90 and cutouts of 72 pixels erase the image


class OneOfOptions(BaseModel):
    """One of several kinds of noise, drawn for each image."""

    model_config = DESCRIBED

    kind: Literal["one_of"] = "one_of"
    """Selects this entry; may be omitted, as in `{ one_of = [...], weights = [...] }`."""
    one_of: tuple[Annotated[SingleNoise, Field(discriminator="kind")], ...] = Field(min_length=2)
    """The kinds to draw from."""
    weights: tuple[Annotated[float, Field(gt=0)], ...] | None = None
    """Relative probabilities of the kinds, one for each; default: equal."""

    @model_validator(mode="after")
    def check_weights(self) -> "OneOfOptions":
        """Reject weights that are not one for each kind."""
        if self.weights is not None and len(self.weights) != len(self.one_of):
            raise ValueError(
                f"weights must have one value for each of the {len(self.one_of)} entries of "
                f"one_of, got {len(self.weights)}; add or remove some, or omit weights"
            )
        return self


def with_kind(value: Any) -> Any:
    """Convert `{ one_of = [...] }` to `{ kind = "one_of", one_of = [...] }`."""
    if isinstance(value, dict) and "one_of" in value and "kind" not in value:
        return {"kind": "one_of"} | value
    return value


NoiseOptions = Annotated[
    Annotated[SingleNoise | OneOfOptions, Field(discriminator="kind")], BeforeValidator(with_kind)
]


class ViewOptions(BaseModel):
    """How the clean and the noisy view are made from a stored image.

    With `resize`: flip, resize and crop at random. Without `resize`, but with `pad` or `crop`:
    flip, pad with black and crop at random. With none of them: flip only. With
    `crop_mode = "random-resized"`: flip, crop at random size, aspect ratio and position from the
    whole original file if there is one, and resize to `crop`.
    """

    model_config = DESCRIBED

    crop_mode: Literal["uniform", "random-resized"] = "uniform"
    """Crops of one size, or of random size and aspect ratio, resized ("random-resized")."""
    crop_scale: tuple[Probability, Probability] = CROP_SCALE
    """Smallest and largest area of a random-resized crop, as fractions of the image's area."""
    crop_ratio: tuple[float, float] = CROP_RATIO
    """Smallest and largest ratio of a random-resized crop's width to its height."""
    interpolation: Interpolation = "bilinear"
    """Antialiased filter of random-resized crops; "random" draws one for each view, as in timm."""
    crop_pct: float = Field(default=1.0, ge=0.1, le=1)
    """Fraction of the side that the test view keeps, centred; 0.875 is usual at 224 px."""
    resize: int | None = Field(default=None, ge=1, le=LARGEST_SIDE)
    """Side in pixels that stored images are resized to before the crop; default: not resized."""
    crop: int | None = Field(default=None, ge=1, le=LARGEST_SIDE)
    """Side in pixels of the random crop, the input of the model; default: not cropped."""
    pad: int = Field(default=0, ge=0, le=LARGEST_SIDE)
    """Black pixels added on each side before the crop (4 is usual at 32 px); excludes `resize`."""
    flip: bool = True
    """Flip half of the views horizontally; disable this for digits and letters."""
    geometry: Literal["independent", "shared"] = "independent"
    """Whether flips and crops are drawn independently for the two views of an image, or shared."""
    noise: tuple[NoiseOptions, ...] = ()
    """Noise applied to the noisy view after the geometry, in order; RandAugment must be first."""

    @model_validator(mode="after")
    def check_geometry(self) -> "ViewOptions":
        """Reject sizes that contradict each other whatever the image size."""
        if self.resize is not None and self.pad:
            raise ValueError(
                f"pad = {self.pad} cannot be combined with resize = {self.resize}; "
                "set views.pad = 0"
            )
        if self.resize is not None and self.crop is not None and self.crop > self.resize:
            raise ValueError(
                f"crop must be at most resize ({self.resize}), got {self.crop}; "
                "raise resize or lower crop"
            )
        return self

    @model_validator(mode="after")
    def check_random_resized(self) -> "ViewOptions":
        """Reject options that contradict the crop mode, or would have no effect in it."""
        if self.crop_mode == "uniform":
            unused = (self.crop_scale, self.crop_ratio, self.interpolation)
            if unused != (CROP_SCALE, CROP_RATIO, "bilinear"):
                raise ValueError(
                    "crop_scale, crop_ratio and interpolation have no effect on uniform crops; "
                    'set views.crop_mode = "random-resized", or remove them'
                )
            return self
        if self.crop is None or self.resize is not None or self.pad:
            raise ValueError(
                f"random-resized crops need crop and neither resize nor pad, got crop = "
                f"{self.crop}, resize = {self.resize} and pad = {self.pad}; set views.crop = 224, "
                "for example, and remove the others"
            )
        if not 0 < self.crop_scale[0] <= self.crop_scale[1]:
            raise ValueError(
                f"crop_scale must be (smallest, largest), both above 0, got {self.crop_scale}; "
                "the usual value is (0.08, 1.0)"
            )
        if not 0 < self.crop_ratio[0] <= self.crop_ratio[1]:
            raise ValueError(
                f"crop_ratio must be (smallest, largest), both above 0, got {self.crop_ratio}; "
                "the usual value is (0.75, 1.333)"
            )
        return self

    @model_validator(mode="after")
    def check_noise(self) -> "ViewOptions":
        """Reject RandAugment anywhere but first in the chain."""
        if any(noise.kind == "randaugment" for link in self.noise[1:] for noise in members(link)):
            raise ValueError(
                f"randaugment may only be the first entry of noise, got "
                f"{', '.join(noise.kind for noise in self.noise)}; move it to the front"
            )
        return self

    @property
    def crops_originals(self) -> bool:
        """Whether views are cropped from original files, not from stored images."""
        return self.crop_mode == "random-resized"

    @property
    def test_filter(self) -> Literal["tf", "bilinear", "bicubic"]:
        """Filter of the test view: antialiased with random-resized crops, else "tf"."""
        if not self.crops_originals:
            return "tf"
        return "bicubic" if self.interpolation == "bicubic" else "bilinear"

    @property
    def is_resampled(self) -> bool:
        """Whether clean views are resampled, so that an image has too many to number them."""
        return self.resize is not None or self.crops_originals

    def input_size(self, image_size: int) -> int:
        """Return the side of the views in pixels, for stored images of this size."""
        return self.crop or self.resize or image_size

    def check_image_size(self, image_size: int) -> None:
        """Raise UserError if these views cannot be made from stored images of this size."""
        full = self.resize or image_size + 2 * self.pad
        if self.crop is not None and self.crop > full and not self.crops_originals:
            raise UserError(
                f"views: crop must be at most {full} for {image_size}-pixel images, "
                f"got {self.crop};\nset views.resize to the crop or more, and views.pad = 0"
            )
        side = self.input_size(image_size)
        for noise in (noise for link in self.noise for noise in members(link)):
            if noise.kind == "randaugment" and noise.semantics == "tf-2021":
                check_tf_2021(side)


def members(link: "SingleNoise | OneOfOptions") -> "tuple[SingleNoise, ...]":
    """Return the kinds of noise that a link of the chain may apply to an image."""
    return link.one_of if isinstance(link, OneOfOptions) else (link,)


def check_tf_2021(side: int) -> None:
    """Raise UserError if views are so small that the bugs of `tf-2021` erase them."""
    if side < SMALLEST_TF_2021:
        raise UserError(
            f"views: semantics 'tf-2021' needs views of at least {SMALLEST_TF_2021} pixels, "
            f"got {side};\nuse semantics 'tf', or a larger crop"
        )
