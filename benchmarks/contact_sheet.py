"""Draw the poses of a folder's pictures side by side: the contact sheet of the README.

python benchmarks/contact_sheet.py FOLDER SHEET.jpg [--detector M] [--pose M]
"""

from pathlib import Path

import click
import cv2
import numpy as np

import rmpe
from rmpe.media.sources import find_images


@click.command()
@click.argument("folder")
@click.argument("sheet", type=click.Path(path_type=Path))
@click.option("--detector")
@click.option("--pose")
@click.option("--height", default=360, show_default=True)
def contact_sheet(folder, sheet, detector, pose, height):
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
    contact_sheet()
