"""From a detector's boxes to proposals, and proposals for training (paper, sections 3.3 and 4)."""
