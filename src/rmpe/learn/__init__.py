"""``rmpe learn``: PGPG and the parameters of pose NMS, learned from data without torch."""
