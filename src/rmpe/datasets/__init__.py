"""Training data: readers of annotation files, `PersonSet`, and packed crops."""
