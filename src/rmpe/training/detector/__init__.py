"""Training of person detectors."""
