"""Training pose estimators and spatial transformers."""
