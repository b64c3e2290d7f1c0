"""Pixel kernels: per image, compiled, uint8 in and out; `blocks` runs them over threads."""
