"""Maps to iterate: what `run` runs."""
