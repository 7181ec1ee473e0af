"""Figures beyond the benchmarks' own: bootstrap intervals, error kinds, plots."""
