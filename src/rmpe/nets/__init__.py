"""PyTorch nets: SSTN (RMPE, section 3.1), pose estimators and detectors.

Inference does not import them.
"""

from typing import Final

# The input of every net is (pixel - PIXEL_MEAN) / PIXEL_SD, RGB.
PIXEL_MEAN: Final = 127.0
PIXEL_SD: Final = 128.0
