"""Compiled pixel kernels for single images, uint8 in and out; `blocks` runs them in threads."""
