"""Files: the H5MD trajectory store, crash-safe parts and atomic records."""
