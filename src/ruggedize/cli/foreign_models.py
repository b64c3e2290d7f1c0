"""Options for the inputs and outputs of models that were not trained with ruggedize."""

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
    """Inputs and outputs of a model, where an ONNX file or a function does not define them.

    Args:
        classes: File with the names of the model's outputs, one per line. Default: the data's
            folders in alphabetical order.
        class_map: CSV file with lines MODEL_CLASS,DATA_CLASS; model classes may share a data class.
        input_size: Side in pixels of the model's input. Default: images as stored.
        resize: Side to which images are resized before the central crop. Default: the input size;
            for timm, the model's own.
        mean: Mean of the channels, for pixels in 0..1. Default for an nn.Module: ImageNet's.
        std: Standard deviation of the channels. Default for an nn.Module: ImageNet's.
        layout: Layout of an ONNX file's input. Default: as its shape shows, else nchw.
        channels: Order of the channels. Default: rgb.
        output: Whether the model returns logits or probabilities. Default: logits.
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
