"""Training (needs the `train` extra): proposals, augmentation, losses, the loop."""
