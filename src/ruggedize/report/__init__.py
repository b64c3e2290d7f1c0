"""Describe what was gained, where, and how surely, from files alone: no model, no torch."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
