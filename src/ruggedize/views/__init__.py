"""The two views of an image: geometry, the noise that the student sees, and their pairing."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
