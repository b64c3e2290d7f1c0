"""Classifiers: five architectures, one wrapper that normalises inside, one file format."""

from ruggedize.lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "AirbenchOptions": "options",
        "Classifier": "classifier",
        "ModelOptions": "options",
        "PreActResNet18Options": "options",
        "Prediction": "classifier",
        "ResNet9Options": "options",
        "ResNet50V2Options": "options",
        "WideResNetOptions": "options",
        "answer_in_parts": "inference",
        "autocast_for": "precision",
        "build": "construction",
        "images_at_once": "inference",
        "load_model": "files",
        "outline": "construction",
        "num_parameters": "construction",
        "packed_model": "files",
        "refuse_too_small": "construction",
        "read_description": "files",
        "resolved_precision": "precision",
        "save_model": "files",
    },
)
