"""asv suite: one number is one shape, one kernel, one pass."""
