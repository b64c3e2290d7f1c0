"""Classifiers: five architectures, a wrapper that normalises its input, and one file format."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
