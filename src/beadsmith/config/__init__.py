"""The configuration: YAML with units to frozen settings, and settings back to text."""
