"""Benchmarks, each of which prints a table and a ratio."""
