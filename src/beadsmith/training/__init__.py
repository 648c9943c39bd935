"""Force matching: data blocks, loss, optimiser loop and checkpoints."""
