"""Import a user's own trajectories of atoms with forces."""
