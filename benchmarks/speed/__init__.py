"""Speed of beadsmith's networks beside the libraries they come from; run it with ``make bench``."""
