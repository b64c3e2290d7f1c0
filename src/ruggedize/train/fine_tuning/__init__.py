"""Trainings that begin with given weights: starts, probe, layer-wise rates, WiSE-FT, choice."""
