"""Regional multi-person pose estimation: everybody's pose from photos and video.

Example:
    >>> import rmpe                                                          # doctest: +SKIP
    >>> estimator = rmpe.load()                                      # doctest: +SKIP
    >>> image = rmpe.read_image("photo.jpg")                         # doctest: +SKIP
    >>> poses = estimator(image)                                     # doctest: +SKIP
    >>> rmpe.save_image("drawn.jpg", rmpe.draw_poses(image, poses))  # doctest: +SKIP
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rmpe.annotations.poses import from_coco as from_coco
    from rmpe.boxes import Boxes as Boxes
    from rmpe.draw import DrawStyle as DrawStyle
    from rmpe.draw import draw_poses as draw_poses
    from rmpe.errors import RmpeError as RmpeError
    from rmpe.media.images import read_image as read_image
    from rmpe.media.images import save_image as save_image
    from rmpe.notebook import show as show
    from rmpe.options import PipelineOptions as PipelineOptions
    from rmpe.options import load as load
    from rmpe.pipeline import Estimator as Estimator
    from rmpe.poses import Poses as Poses
    from rmpe.skeletons import Skeleton as Skeleton
    from rmpe.skeletons import load_skeleton as load_skeleton
    from rmpe.streaming import Result as Result
    from rmpe.streaming import stream as stream
    from rmpe.video import track as track

__version__ = "0.2.0"

_PUBLIC = {
    "Boxes": "rmpe.boxes",
    "DrawStyle": "rmpe.draw",
    "Estimator": "rmpe.pipeline",
    "PipelineOptions": "rmpe.options",
    "Poses": "rmpe.poses",
    "Result": "rmpe.streaming",
    "RmpeError": "rmpe.errors",
    "Skeleton": "rmpe.skeletons",
    "draw_poses": "rmpe.draw",
    "from_coco": "rmpe.annotations.poses",
    "load": "rmpe.options",
    "load_skeleton": "rmpe.skeletons",
    "read_image": "rmpe.media.images",
    "save_image": "rmpe.media.images",
    "show": "rmpe.notebook",
    "stream": "rmpe.streaming",
    "track": "rmpe.video",
}
__all__ = [
    "Boxes",
    "DrawStyle",
    "Estimator",
    "PipelineOptions",
    "Poses",
    "Result",
    "RmpeError",
    "Skeleton",
    "__version__",
    "draw_poses",
    "from_coco",
    "load",
    "load_skeleton",
    "read_image",
    "save_image",
    "show",
    "stream",
    "track",
]


def __dir__() -> list[str]:
    """The public names, also those that have not been used yet."""
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that ``import rmpe`` costs next to nothing."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'rmpe' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)
