"""beadsmith: from atomistic trajectories to machine-learned coarse-grained force fields that a scientist can trust."""

__version__ = "0.1.0"
