"""Which network is worth its time: all networks and the pair spline on the same liquid methanol."""
