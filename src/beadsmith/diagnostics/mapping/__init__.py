"""The verb `diagnose`: can the chosen network and prior learn what these beads do? Verdicts before any training."""
