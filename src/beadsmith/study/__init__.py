"""Studies: many runs of the pipeline that share what they have in common, and one report of all."""
