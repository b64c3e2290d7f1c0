"""Objectives, one per module; the module's name is the objective's `kind` in a recipe."""
