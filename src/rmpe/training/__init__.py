"""Training of pose estimators, spatial transformers and detectors (needs the `train` extra)."""
