"""Mutated files for everything that reads files: ``python -m tests.fuzz json --count 20000``."""
