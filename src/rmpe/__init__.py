"""Regional multi-person pose estimation: everybody's pose from photos and video."""

__version__ = "0.1.0"
