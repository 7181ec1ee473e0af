"""Person detectors as nets."""
