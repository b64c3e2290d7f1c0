"""Trainings that begin with given weights: starts, linear probe, layer-wise rates, WiSE-FT."""
