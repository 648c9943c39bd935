"""Atomistic sampling with OpenMM."""
