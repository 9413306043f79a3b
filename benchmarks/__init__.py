"""Programs that measure: each prints a table and the ratio it is about."""
