"""From atoms to beads: position maps, force maps and their invariants."""
