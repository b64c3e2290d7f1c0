"""Studies: several recipes and seeds at equal compute, one process per run."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
