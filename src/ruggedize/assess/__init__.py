"""Examine models on clean and corrupted images: counts first, then summaries and intervals."""

from ruggedize.lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "Assessment": "assessment",
        "AssessOptions": "options",
        "Examination": "examination",
        "Predictions": "predictions",
        "assess": "evaluate",
        "chosen_cells": "selection",
        "example_facts": "examples",
        "load_assessment": "assessment",
        "load_predictions": "predictions",
        "parsed_severities": "options",
        "save_assessment": "examination",
        "save_examples": "examples",
    },
)
