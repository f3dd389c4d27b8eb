"""Ranvier: a Matrix homeserver system."""

__version__ = "0.1.0"
