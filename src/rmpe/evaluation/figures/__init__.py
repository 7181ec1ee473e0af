"""Figures beyond a benchmark's own: intervals, kinds of errors, plots."""
