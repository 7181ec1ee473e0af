"""Who is matched with whom, and what follows from it."""
