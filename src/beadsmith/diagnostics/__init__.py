"""Checks of data, fits and simulations."""
