"""Kinds of noise, one per module, which is named after the noise's `kind` in a recipe."""
