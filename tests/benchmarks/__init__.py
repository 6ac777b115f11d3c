"""Measures what Secateur must reach: ``python -m tests.benchmarks [ID …]``, results in ``docs/benchmarks.md``."""
