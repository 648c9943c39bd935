"""Batched coarse-grained molecular dynamics."""
