"""Matching of predictions with annotations, and the metrics computed from it."""
