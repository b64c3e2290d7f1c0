"""The nineteen common corruptions at five severities each, and suites of corrupted images."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
