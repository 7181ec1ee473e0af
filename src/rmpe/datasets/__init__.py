"""Annotated people to train from: readers, one plain struct, packed crops."""
