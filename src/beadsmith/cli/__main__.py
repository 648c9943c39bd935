"""Let ``python -m beadsmith.cli`` do what ``beadsmith`` does."""

from beadsmith.cli import main

main()
