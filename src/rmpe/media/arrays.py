"""Pictures in memory, of whatever kind, as RGB uint8 ``(H, W, 3)``: all that rmpe works on.

The check is made once, where a picture enters the package. Libraries that a picture may come from
(Pillow, PyTorch) are recognised only if the caller has imported them; rmpe imports neither.
"""

import sys
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from rmpe.errors import ImageError

Image: TypeAlias = NDArray[np.uint8]
ChannelOrder: TypeAlias = Literal["rgb", "bgr"]
CHANNEL_ORDERS: tuple[str, ...] = get_args(ChannelOrder)

WANTED = "an image is RGB uint8 (H, W, 3)"
CHANNELS = frozenset({1, 3, 4})
# How far interpolation may overshoot the range of floating-point pixels, as a share of it.
OVERSHOOT = 0.02
# Brightest value of a picture of 12 bits, as cameras of laboratories give them in 16.
TWELVE_BITS = 4095
# A floating-point picture in 0..255 that is darker than this everywhere is taken for another range.
DARKEST = 16


def image_from_array(thing: Any, color: ChannelOrder = "rgb") -> Image:
    """A picture in memory as RGB uint8 ``(H, W, 3)``; an array that is one already is not copied.

    =====================  =======================================================================
    given                  becomes
    =====================  =======================================================================
    Pillow image           RGB; its EXIF rotation is not applied, as Pillow itself does not
    PyTorch tensor, array  grey ``(H, W)`` or ``(H, W, 1)`` is repeated, of ``(H, W, 4)`` the alpha
                           channel is dropped, ``(C, H, W)`` is turned round
    bool                   0 and 255
    integers in 0..255     as they are, whatever their type
    uint16 above 4095      the high byte; between the two nobody knows how many bits are meant
    float in 0..1          times 255
    float in 0..255        rounded
    =====================  =======================================================================

    Args:
        thing: What the caller passed.
        color: Order of the colour channels of arrays and tensors; Pillow knows its own.

    Raises:
        ImageError: If it cannot be meant as one image; says what it is and how to convert it.
    """
    if _is_instance_of(thing, "PIL.Image", "Image"):
        return image_from_array(_pillow_pixels(thing))
    if _is_instance_of(thing, "torch", "Tensor"):
        thing = _tensor_values(thing)
    if not hasattr(thing, "__array__") and not hasattr(thing, "__array_interface__"):
        hint = "; was the file read?" if thing is None else ""
        raise ImageError(f"{WANTED}, this is {type_name(thing)}{hint}")
    pixels = np.asarray(thing)
    rows = _eight_bits(_channels_last(pixels), pixels)
    if rows.shape[2] == 1:
        return np.ascontiguousarray(np.repeat(rows, 3, axis=2))
    colors = rows[..., :3]
    return np.ascontiguousarray(colors[..., ::-1] if color == "bgr" else colors)


def check_channel_order(color: ChannelOrder) -> ChannelOrder:
    """The order of colour channels itself, if there is such a one.

    Raises:
        ImageError: If it is neither.
    """
    if color not in CHANNEL_ORDERS:
        raise ImageError(f"color is {color!r}; known: {', '.join(CHANNEL_ORDERS)}")
    return color


def _channels_last(pixels: NDArray[Any]) -> NDArray[Any]:
    """The same pixels as ``(H, W, C)``, C being 1, 3 or 4."""
    what = f"this is {pixels.dtype} {pixels.shape}"
    if pixels.ndim == 4 and len(pixels):
        raise ImageError(f"{WANTED}, {what}: a batch; pass a list of its images, list(batch)")
    if pixels.ndim not in {2, 3}:
        raise ImageError(f"{WANTED}, {what}")
    if not pixels.size:
        raise ImageError(f"{WANTED}, {what}: empty; was it cut out beyond the border?")
    if pixels.ndim == 2:
        return pixels[..., None]
    if pixels.shape[2] in CHANNELS:
        return pixels
    if pixels.shape[0] in CHANNELS:
        return pixels.transpose(1, 2, 0)
    raise ImageError(
        f"{WANTED}, {what}: neither its last nor its first axis holds 1, 3 or 4 channels"
    )


def _eight_bits(rows: NDArray[Any], given: NDArray[Any]) -> Image:
    """``(H, W, C)`` of any number type as uint8; ``given`` is what error messages speak of."""
    if rows.dtype == np.uint8:
        return rows
    what = f"this is {given.dtype} {given.shape}"
    if rows.dtype == np.bool_:
        return rows.astype(np.uint8) * np.uint8(255)
    if rows.dtype.kind not in "uif":
        raise ImageError(f"{WANTED}, {what}; convert it with image.astype('uint8')")
    low = float(rows.min())
    high = float(rows.max())
    what = f"{what} with values from {low:.4g} to {high:.4g}"
    if rows.dtype.kind in "ui":
        if low >= 0 and high <= 255:
            return rows.astype(np.uint8)
        if rows.dtype.kind == "u" and rows.dtype.itemsize == 2:
            if high <= TWELVE_BITS:
                raise ImageError(
                    f"{WANTED}, {what}: fewer than 16 bits; scale it to 0..255 (of 12 bits:"
                    " (image >> 4).astype('uint8'))"
                )
            return (rows >> 8).astype(np.uint8)
        raise ImageError(f"{WANTED}, {what}; scale it to 0..255")
    if low >= -OVERSHOOT and high <= 1 + OVERSHOOT:
        return _rounded(rows * np.float32(255))
    # A picture with its mean taken off begins below 0 and ends soon above it, and one in 0..2 ends
    # there, too: not 0 to 255, unless all values are whole.
    bright = high > DARKEST
    if (-OVERSHOOT * 255 if bright else 0) <= low and high <= (1 + OVERSHOOT) * 255:
        rounded = _rounded(rows)
        if bright or np.array_equal(rounded, rows):
            return rounded
    raise ImageError(
        f"{WANTED}, {what}; floating-point pixels lie in 0..1 or 0..255: undo a normalisation"
        " (image * sd + mean) first"
    )


def _rounded(rows: NDArray[Any]) -> Image:
    return np.clip(np.rint(rows), 0, 255).astype(np.uint8)


def _is_instance_of(thing: Any, module: str, name: str) -> bool:
    """Whether it is an instance of a class whose module the caller has imported."""
    kind = getattr(sys.modules.get(module), name, None)
    return isinstance(kind, type) and isinstance(thing, kind)


def _pillow_pixels(picture: Any) -> NDArray[Any]:
    """Pixels of a Pillow image: RGB, or one channel where it has more than 8 bits."""
    try:
        deep = picture.mode == "F" or picture.mode.startswith("I")
        return np.asarray(picture if deep else picture.convert("RGB"))
    except Exception as error:  # a lazily read file may fail in any way that Pillow's plug-ins know
        raise ImageError(f"this Pillow image cannot be read: {error}") from error


def _tensor_values(tensor: Any) -> NDArray[Any]:
    try:
        values = tensor.detach().cpu()
        # NumPy has no bfloat16, and half precision on a CPU is slow.
        return np.asarray(values.float() if values.is_floating_point() else values)
    except (TypeError, RuntimeError) as error:  # without values, sparse, quantised
        what = f"this is a tensor {tensor.dtype} {tuple(tensor.shape)}"
        raise ImageError(f"{WANTED}, {what} that NumPy cannot read: {error}") from error


def type_name(thing: Any) -> str:
    """What an object is, for an error message."""
    kind = type(thing)
    if thing is None:
        return "None"
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
