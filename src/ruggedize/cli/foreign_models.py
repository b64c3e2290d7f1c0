"""The options that say how models of other origin take images and return scores."""

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
    """Options for models of other origin, which an ONNX file or a function does not say itself.

    Args:
        classes: File with the name of each output of the model on a line of its own. Default: the
            data's folders in alphabetical order.
        class_map: CSV file with lines MODEL_CLASS,DATA_CLASS; several may have one data class.
        input_size: Side in pixels of what the model takes. Default: as stored.
        resize: Side to which images are resized before the middle is cut out. Default: the input
            size, or what timm says.
        mean: Subtracted from pixels in 0..1. Default for an nn.Module: ImageNet's.
        std: Divided by after that.
        layout: Where an ONNX file has the channels. Default: as the shape of its input tells.
        channels: Order of the channels. Default: rgb.
        output: What the model returns. Default: logits.
        download: Fetch weights of timm/NAME or hf:ORG/NAME that are not in the cache.
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
        """Return the options, with the files read.

        Raises:
            UserError: a number or a file is not understood.
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
                raise UserError(f"{name} must be at least 1, got {side};\ngive pixels")
        if (self.mean is None) != (self.std is None):
            raise UserError("--mean and --std belong together, got one of them;\ngive both")
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


NOTHING_SAID = ForeignModels()
Foreign = Annotated[ForeignModels, tyro.conf.OmitArgPrefixes, tyro.conf.arg(name="")]
