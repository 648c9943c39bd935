"""Graph neural networks that turn bead environments into energies."""
