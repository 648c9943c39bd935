"""Structure, dynamics and thermodynamics of trajectories, with error bars."""
