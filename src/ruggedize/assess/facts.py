"""Provenance of an assessment's results. Imports no torch."""

from pydantic import BaseModel, ConfigDict

from ruggedize.data import DataDigest


class AssessmentFacts(BaseModel):
    """Provenance of the results, as far as known.

    Args:
        overlaps: corruptions that each training noise overlaps; None: unknown.
        left_out: files that could not be decoded and were skipped.
        models: SHA-256 of each model's file.
        sources: where each model comes from, as given: `timm/resnet18`, `mine.onnx`.
        held_out: models whose training is known to have left these images out.
        data: digest of the data; None: unknown.
        examples: file names of the example pictures; None: unknown.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")
    overlaps: dict[str, tuple[str, ...]] | None = None
    left_out: tuple[str, ...] = ()
    models: dict[str, str] = {}
    sources: dict[str, str] = {}
    held_out: tuple[str, ...] = ()
    data: DataDigest | None = None
    examples: tuple[str, ...] | None = None
