"""Training of pose estimators and spatial transformers."""
