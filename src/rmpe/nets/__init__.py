"""The nets, in PyTorch: paper section 3.1 and pose estimators. Nothing on the inference side imports them."""

from typing import Final

# Every net of this package sees (pixel - PIXEL_MEAN) / PIXEL_SD, RGB.
PIXEL_MEAN: Final = 127.0
PIXEL_SD: Final = 128.0
