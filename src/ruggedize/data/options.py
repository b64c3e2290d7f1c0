"""The options of the data. Does not import torch, so that recipes load in milliseconds."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from ruggedize.core.places import absolute_path, user_path


def count_or_share(value: Any) -> int | float:
    """Raise ValueError unless a value is an int >= 1 (a count) or a float in 0..1 (a fraction)."""
    is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    is_share = isinstance(value, float) and 0 < value < 1
    if not (is_count or is_share):
        raise ValueError(
            f"must be a count (500) or a fraction between 0 and 1 (0.1), got {value!r}"
        )
    return value


def expanded_name(name: str) -> str:
    """Return the name of a data set with `~` expanded."""
    prefix, path = ("hf:", name[3:]) if name.startswith("hf:") else ("", name)
    return prefix + str(user_path(path)) if path.startswith("~") else name


class DataOptions(BaseModel):
    """The images of a run, and how they are split."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, AfterValidator(expanded_name)] = Field(
        description="digits, cifar10, cifar100, the path of a folder or table of images, or hf:NAME"
    )
    root: Annotated[Path, AfterValidator(absolute_path)] | None = Field(
        default=None,
        description="folder with the data; default: RUGGEDIZE_DATA, else where fetch puts it",
    )
    image_size: Annotated[int, Field(ge=4, le=1024)] | None = Field(
        default=None,
        description="side in pixels to which images are resized; required for a folder of images",
    )
    fit: Literal["crop", "pad", "squash"] = Field(
        default="crop",
        description="how images are made square: crop keeps the central square, pad adds grey "
        "bars, squash changes the proportions",
    )
    max_megapixels: float = Field(
        default=120.0,
        gt=0,
        le=178,
        description="limit above which images of a folder are rejected, because a small file can "
        "contain a huge image",
    )
    validation: Annotated[int | float, BeforeValidator(count_or_share)] = Field(
        default=0.1,
        description="training images held out for model selection: a count, or a fraction (0 to 1)",
    )
    validation_choice: Literal["stratified", "last"] = Field(
        default="stratified",
        description="which images are held out: a sample stratified by class, or the last ones",
    )
    num_train: int | None = Field(
        default=None,
        ge=2,
        description="number of training images to use, stratified by class; only for built-in data "
        "sets; default: all that are not held out",
    )
    unlabelled: Annotated[Path, AfterValidator(absolute_path)] | None = Field(
        default=None,
        description="folder with images without labels, at any depth, for objectives that use "
        "them; default: the folder unlabelled next to train, if there is one",
    )
    num_labels: int | None = Field(
        default=None,
        ge=2,
        description="number of training images that keep their labels, the same number in each "
        "class; the others become unlabelled",
    )
    label_seed: int = Field(
        default=0,
        ge=0,
        lt=1 << 32,
        description="seed for choosing the images that keep their labels",
    )
    skip_bad_images: bool = Field(
        default=False,
        description="skip files of a folder that cannot be decoded; a warning lists them",
    )
    streaming: bool | Literal["auto"] = Field(
        default="auto",
        description="decode the images of a folder in every epoch, in worker processes, instead of "
        "keeping them in memory; auto: only if they would take more than a third of the free "
        "memory",
    )
    workers: int | None = Field(
        default=None,
        ge=0,
        le=64,
        description="worker processes per training process that decode streamed images; requires "
        "streaming = true; 0: threads of the training process; default: its share of the cores, "
        "at most 16",
    )

    @model_validator(mode="after")
    def folder_is_read(self) -> "DataOptions":
        """Raise ValueError for a folder of unlabelled images beside a Hugging Face data set."""
        if self.unlabelled is not None and self.name.startswith("hf:"):
            raise ValueError(
                f"unlabelled cannot be combined with {self.name}; add a split named unlabelled to "
                "the data set"
            )
        return self

    @model_validator(mode="after")
    def seed_has_a_choice(self) -> "DataOptions":
        """Raise ValueError if `label_seed` is set but would have no effect."""
        if self.label_seed and self.num_labels is None:
            raise ValueError(
                "label_seed has no effect without num_labels; set num_labels, or remove label_seed"
            )
        return self

    @model_validator(mode="after")
    def workers_have_work(self) -> "DataOptions":
        """Raise ValueError if `workers` is set but would have no effect."""
        if self.workers is not None and self.streaming is not True:
            raise ValueError(
                "workers has no effect without streaming = true; set streaming, or remove workers"
            )
        return self
