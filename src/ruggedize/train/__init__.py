"""One loop, two objectives: teachers on clean views, students on noisy ones."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
