"""Assess models on clean and corrupted images: counts first, then summaries and intervals."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
