"""The nets, in PyTorch: paper section 3.1 and the single-person pose estimators. Nothing on the inference side imports them."""

from typing import Final

# Every net of this package sees (pixel - PIXEL_MEAN) / PIXEL_SD, RGB; what lies outside an image is then 0, mid grey.
PIXEL_MEAN: Final = 127.0
PIXEL_SD: Final = 128.0
