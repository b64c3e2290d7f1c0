"""The networks, one per module."""
