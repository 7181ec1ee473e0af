"""Results to files: a journal that grows with every batch, and the final files that are made from it."""

from rmpe.write import alphapose, coco, openpose, table

# What `--format` may be; each writes its files from the journal's records.
FORMATS = {
    "coco": coco.write,
    "alphapose": alphapose.write,
    "openpose": openpose.write,
    "csv": table.write,
}
