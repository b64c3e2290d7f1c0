"""What is recorded beside the figures of an assessment. No torch."""

from pydantic import BaseModel, ConfigDict

from ruggedize.data import DataDigest


class AssessmentFacts(BaseModel):
    """Where the figures come from, as far as it is known.

    Args:
        overlaps: the corruptions that each noise of the training overlaps; None: not known.
        left_out: files of a folder that could not be decoded.
        models: the SHA-256 of each model's file.
        sources: where each model comes from, as it was given: `timm/resnet18`, `mine.onnx`.
        held_out: the models whose training is known to have left these images out.
        data: what identifies the data; None: not known.
        examples: the file names of the pictures on which models disagree; None: not known.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")
    overlaps: dict[str, tuple[str, ...]] | None = None
    left_out: tuple[str, ...] = ()
    models: dict[str, str] = {}
    sources: dict[str, str] = {}
    held_out: tuple[str, ...] = ()
    data: DataDigest | None = None
    examples: tuple[str, ...] | None = None
