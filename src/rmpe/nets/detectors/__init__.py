"""Person detectors in PyTorch."""
