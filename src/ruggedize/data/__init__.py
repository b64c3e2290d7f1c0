"""Data sets, in memory or streamed: uint8 images, labels, classes, a stable index per image."""

from ruggedize.lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "DataOptions": "options",
        "ImageSet": "image_set",
        "Splits": "image_set",
        "StreamedImages": "streaming",
        "data_root": "root",
        "decode_image": "decode",
        "fetch": "fetching",
        "list_classes": "folder",
        "list_images": "decode",
        "load_data": "load",
        "load_splits": "load",
        "shown": "decode",
    },
)
