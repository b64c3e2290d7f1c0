"""What can be said about the data; no torch here, so that a recipe is read in milliseconds."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator


def count_or_share(value: Any) -> int | float:
    """Reject what is neither a count nor a share (a whole number is never a share)."""
    is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    is_share = isinstance(value, float) and 0 < value < 1
    if not (is_count or is_share):
        raise ValueError(f"give a count (500) or a share between 0 and 1 (0.1), got {value!r}")
    return value


class DataOptions(BaseModel):
    """The images of a run and how they are divided."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="digits, cifar10, cifar100 or the path of a folder of images")
    root: Path | None = Field(
        default=None,
        description="folder that holds the data; default: RUGGEDIZE_DATA, else where fetch puts it",
    )
    image_size: Annotated[int, Field(ge=4, le=1024)] | None = Field(
        default=None,
        description="side in pixels at which images are kept; a folder of images needs it",
    )
    fit: Literal["crop", "pad", "squash"] = Field(
        default="crop",
        description="how images that are not square are made so: crop keeps the middle square, pad "
        "keeps all of the image with grey beside it, squash keeps all and changes its proportions",
    )
    max_megapixels: float = Field(
        default=120.0,
        gt=0,
        le=178,
        description="larger images of a folder are not decoded: a small file can hold a huge one",
    )
    validation: Annotated[int | float, BeforeValidator(count_or_share)] = Field(
        default=0.1,
        description="training images held out to choose by: a count, or a share between 0 and 1",
    )
    validation_choice: Literal["stratified", "last"] = Field(
        default="stratified",
        description="which are held out: equally many of every class, or the last",
    )
    skip_bad_images: bool = Field(
        default=False,
        description="leave out files of a folder that cannot be decoded; a warning lists them",
    )
    streaming: bool | Literal["auto"] = Field(
        default="auto",
        description="decode a folder's images anew in each epoch, in worker processes, instead of "
        "keeping them in memory; auto: where they would take a third of the memory that is free",
    )
    workers: int | None = Field(
        default=None,
        ge=0,
        le=64,
        description="processes that decode streamed images, for each process that trains, with "
        "streaming = true; 0: threads of the process itself; default: its share of the cores, "
        "16 at most",
    )

    @model_validator(mode="after")
    def workers_have_work(self) -> "DataOptions":
        """Reject workers that would never be started."""
        if self.workers is not None and self.streaming is not True:
            raise ValueError(
                "workers is for streamed images; set streaming = true as well, or leave it out"
            )
        return self
