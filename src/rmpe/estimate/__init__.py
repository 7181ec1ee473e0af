"""Estimate: a region in, the pose of the person in it out."""
