"""Benchmarks; most print a table and a ratio."""
