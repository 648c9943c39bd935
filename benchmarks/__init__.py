"""Measurements of speed and accuracy; not part of the installed package."""
