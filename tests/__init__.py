"""A package so that ``python -m tests.benchmarks`` finds this folder: an installed package has a ``tests`` of its own."""
