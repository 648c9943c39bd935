"""Fused neighbour sweeps, each with a slow twin in the tests."""
