"""Shared basics: errors, files, locks, memory, progress and random streams."""
