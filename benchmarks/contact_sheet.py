"""Draw the poses of the pictures of FOLDER side by side into SHEET: the picture of the README."""

from pathlib import Path

import click
import cv2
import numpy as np

import rmpe
from benchmarks.options import benchmark
from rmpe.media.sources import find_images


@benchmark("detector", "pose")
@click.argument("folder")
@click.argument("sheet", type=click.Path(path_type=Path))
@click.option("--height", default=360, show_default=True)
def main(detector, pose, folder, sheet, height):
    estimator = rmpe.load(detector, pose)
    tiles = []
    for item in find_images([folder]):
        image = rmpe.read_image(item.path)
        width = round(image.shape[1] * height / image.shape[0])
        tiles.append(
            cv2.resize(
                rmpe.draw_poses(image, estimator(image)),
                (width, height),
                interpolation=cv2.INTER_AREA,
            )
        )
    rmpe.save_image(sheet, np.concatenate(tiles, axis=1))


if __name__ == "__main__":
    main()
