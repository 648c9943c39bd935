"""Force fields for other engines."""
