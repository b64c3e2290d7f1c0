"""The two views of an image: geometry, the noise that the student sees, and their pairing."""

from ruggedize.lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "AdditiveNoiseOptions": "options",
        "RandAugmentOptions": "options",
        "RandomErasingOptions": "options",
        "ViewMaker": "pairs",
        "ViewOptions": "options",
        "overlaps": "noise",
        "randaugment": "augment",
        "view_sheet": "sheet",
    },
)
