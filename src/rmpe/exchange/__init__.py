"""Data sets of labelled people in the formats of labelling tools and of other trainers."""
