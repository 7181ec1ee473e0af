"""One benchmark's rules a module."""
