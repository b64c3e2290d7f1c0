"""Kinds of noise, one per module; the module's name is the noise's `kind` in a recipe."""
