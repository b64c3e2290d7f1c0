"""Recipes: validated descriptions of whole runs in TOML. Does not import torch."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
