"""``rmpe learn``: what is learned from data without a net: PGPG and the parameters of pose NMS. Needs no torch."""
