"""Training person detectors."""
