"""Data sets, in memory or streamed: uint8 images with labels, classes and stable indices."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
