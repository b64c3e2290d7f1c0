"""Options for models that ruggedize did not train: how they take images and return scores."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from ruggedize.cli.args import ChannelOrder, Channels, File, Layout, Output, Switch, Whole
from ruggedize.core.errors import UserError

if TYPE_CHECKING:
    from ruggedize.models import ForeignOptions


@dataclass(frozen=True)
class ForeignModels:
    """Options for models that ruggedize did not train, such as ONNX files and functions.

    Args:
        classes: Text file with the names of the model's outputs, one per line. Default: the data's
            folders in alphabetical order.
        class_map: CSV file with lines MODEL_CLASS,DATA_CLASS; several model classes may map to the
            same data class.
        input_size: Input size of the model in pixels. Default: the stored size.
        resize: Size in pixels to which images are resized before the centre crop. Default: the
            input size, or timm's setting.
        mean: Channel means, subtracted from pixels in 0..1. Default for an nn.Module: ImageNet's.
        std: Channel standard deviations, which pixels are then divided by.
        layout: Position of the channels in the input of an ONNX file. Default: inferred from its
            shape.
        channels: Order of the colour channels. Default: rgb.
        output: What the model returns. Default: logits.
        download: Download weights of timm/NAME or hf:ORG/NAME that are not in the cache.
    """

    classes: File = None
    class_map: File = None
    input_size: Whole = None
    resize: Whole = None
    mean: Channels = None
    std: Channels = None
    layout: Layout = None
    channels: ChannelOrder = None
    output: Output = None
    download: Switch = False

    def read(self) -> "ForeignOptions":
        """Return the options, with the contents of their files.

        Raises:
            UserError: a number is out of range, or a file is invalid.
        """
        from ruggedize.models import (
            Contract,
            ForeignOptions,
            parsed_channels,
            read_class_map,
            read_classes,
        )

        for name, side in (("--input-size", self.input_size), ("--resize", self.resize)):
            if side is not None and side < 1:
                raise UserError(f"{name} must be at least 1, got {side};\ngive a size in pixels")
        if (self.mean is None) != (self.std is None):
            raise UserError(
                "--mean and --std must be given together, got only one of them;\ngive both"
            )
        contract = Contract(
            input_size=self.input_size,
            resize=self.resize,
            mean=None if self.mean is None else parsed_channels("--mean", self.mean),
            std=None if self.std is None else parsed_channels("--std", self.std),
            layout=self.layout,
            channels=self.channels,
            output=self.output,
        )
        return ForeignOptions(
            contract,
            None if self.classes is None else read_classes(Path(self.classes)),
            None if self.class_map is None else read_class_map(Path(self.class_map)),
            self.download,
        )


UNSPECIFIED = ForeignModels()
Foreign = Annotated[ForeignModels, tyro.conf.OmitArgPrefixes, tyro.conf.arg(name="")]
