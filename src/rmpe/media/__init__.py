"""Pictures and videos in, pictures and videos out."""
