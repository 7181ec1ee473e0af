"""Reading annotations and results."""
