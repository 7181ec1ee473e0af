"""What a run is to do: its settings in ``run.json``, its files in ``manifest-*.parquet``.

Photos are cut into shards in the order of ``rmpe predict``; a video is a shard of its own. The
number of a shard never changes, and its results have a name made from it.
"""

import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from rmpe import __version__
from rmpe.config import from_mapping, to_mapping
from rmpe.errors import DataError, UsageError
from rmpe.extras import load_extra
from rmpe.farm.storage import Storage, open_storage
from rmpe.fields import table
from rmpe.files import parse_json
from rmpe.media.images import SUFFIXES
from rmpe.media.remote import is_remote, list_remote
from rmpe.media.sources import (
    VIDEO_SUFFIXES,
    ImageItem,
    image_ids,
    is_video,
    list_files,
    named,
)
from rmpe.options import PipelineOptions
from rmpe.pipeline import Estimator
from rmpe.skeletons import Skeleton
from rmpe.streaming import CHUNK
from rmpe.video import Following
from rmpe.write.journal import changed_settings

VERSION = 1
RUN = "run.json"
SHARD = 200
# Shards in one file of the manifest, each a row group of its own.
SHARDS_A_FILE = 100
# Where remote files lie when they are sorted and named among local ones.
REMOTE = Path(os.path.abspath("/remote"))  # noqa: PTH100


@dataclass(frozen=True, slots=True)
class Item:
    """A photo or a video of a manifest.

    Attributes:
        image_id: Its id among the photos; ``None`` for a video and for a photo that the
            annotations do not name.
        file: Its relative name for the results.
        name: What its own output files are called.
        path: Absolute path or address.
    """

    image_id: int | None
    file: str
    name: str
    path: str


@dataclass(frozen=True, kw_only=True)
class Run:
    """A planned run.

    Attributes:
        shard: Photos in a shard.
        photos: How many photos have an id.
        unnamed: Photos that the annotations do not name; they fail.
        videos: How many videos there are.
        pipeline: The models.
        following: How people are followed through videos.
        skeleton: That of the poses.
        settings: All that decides the results, as in a journal.
        folder: Where the sources were named from, if no file has an absolute name; else empty.
        rmpe_farm: Version of this file.
    """

    shard: int
    photos: int
    unnamed: int
    videos: int
    pipeline: PipelineOptions
    following: Following
    skeleton: Skeleton
    settings: dict[str, Any] = field(default_factory=dict)
    folder: str = ""
    rmpe_farm: int = VERSION

    @property
    def shards(self) -> range:
        """The numbers of all shards: those of photos, those of unnamed photos, the videos."""
        return range(self.first_video + self.videos)

    @property
    def first_unnamed(self) -> int:
        """The first shard of photos that the annotations do not name."""
        return -(-self.photos // self.shard)

    @property
    def first_video(self) -> int:
        """The shard of the first video."""
        return self.first_unnamed + -(-self.unnamed // self.shard)

    def size(self, shard: int) -> int:
        """Photos in a shard; a video counts as one."""
        if shard >= self.first_video:
            return 1
        if shard >= self.first_unnamed:
            return min(self.shard, self.unnamed - (shard - self.first_unnamed) * self.shard)
        return min(self.shard, self.photos - shard * self.shard)


def plan(
    sources: Sequence[str],
    storage: Storage,
    pipeline: PipelineOptions,
    following: Following,
    shard: int = SHARD,
    listing: Iterable[str] | None = None,
) -> Run:
    """List the sources, cut them into shards and write the manifest.

    Args:
        sources: Files, folders, patterns and addresses; ``-`` for the lines of ``listing``.
        storage: Where the run is to be; it must not hold another one.
        pipeline: The models; they are loaded once to see that they can be used. ``annotations``
            gives the photos their ids.
        following: How people are followed through videos.
        shard: Photos in a shard; rounded up to a multiple of `CHUNK`, so that the photos that
            share a batch are those that share it in ``rmpe predict``.
        listing: Standard input if not given.

    Raises:
        RmpeError: If a source or a model cannot be used, or another run is there.
    """
    if RUN in storage.entries():
        raise UsageError(
            f"{storage.address}: a run is planned there already: rmpe farm run"
            f" {storage.address}, or name another --out"
        )
    pipeline = _absolute(pipeline)
    estimator = pipeline.load()
    photos, videos, addresses = _find(sources, listing)
    if videos and pipeline.boxes:
        raise UsageError(f"{videos[0].path}: a video: --boxes are for photos")
    ids = image_ids(photos, pipeline.annotations)
    run = Run(
        shard=-(-shard // CHUNK) * CHUNK,
        photos=len(ids),
        unnamed=len(photos) - len(ids),
        videos=len(videos),
        pipeline=pipeline,
        following=following,
        skeleton=estimator.skeleton,
        settings=settings_of(pipeline, following, estimator),
        folder=_folder([*photos, *videos], addresses),
    )

    def entry(item: ImageItem) -> Item:
        return Item(ids.get(item), item.file_name, item.name, _address(item.path, addresses))

    _write_manifest(
        storage,
        run,
        (entry(item) for item in photos if item in ids),
        (entry(item) for item in photos if item not in ids),
        map(entry, videos),
    )
    storage.write(RUN, json.dumps(to_mapping(run), indent=1).encode())
    return run


def settings_of(
    pipeline: PipelineOptions, following: Following, estimator: Estimator
) -> dict[str, Any]:
    """All that decides the results; a run only goes on under the same.

    Args:
        pipeline: The models.
        following: How people are followed through videos.
        estimator: What the pipeline was loaded as.

    Raises:
        RmpeError: If a model is missing.
    """
    settings = pipeline.fingerprint(estimator) | asdict(following)
    settings |= {"rmpe": __version__, "skeleton": estimator.skeleton.name}
    return {name: value for name, value in settings.items() if value is not None}


def check_settings(run: Run, estimator: Estimator, place: str) -> None:
    """That this machine has the models that the run was planned with.

    Args:
        run: The run.
        estimator: Its models, as this machine has loaded them.
        place: Where it is, for the message.

    Raises:
        RmpeError: If it has others, or none.
    """
    now = settings_of(run.pipeline, run.following, estimator)
    if differs := changed_settings(run.settings, now):
        raise DataError(
            f"{place}: planned with other settings: {differs}; install the same models and the"
            " same rmpe here, or plan anew in another folder"
        )


def read_run(storage: Storage) -> Run:
    """The run that is planned in a storage.

    Raises:
        UsageError: If there is none.
        DataError: If it is damaged or of another version.
    """
    place = f"{storage.address}/{RUN}"
    if RUN not in storage.entries():
        raise UsageError(
            f"{storage.address}: no run is planned there:"
            f" rmpe farm plan SOURCE --out {storage.address}"
        )
    data = table(parse_json(storage.read(RUN), place), place)
    if data.get("rmpe_farm") != VERSION:
        raise DataError(f"{place}: not of this version of rmpe; plan anew in another folder")
    run = from_mapping(Run, data, place)
    if run.shard < CHUNK or min(run.photos, run.unnamed, run.videos) < 0:
        raise DataError(f"{place}: damaged: its counts cannot be; plan anew in another folder")
    return run


def read_shard(address: str, shard: int) -> list[Item]:
    """The photos of a shard, or its video.

    Args:
        address: Where the run is.
        shard: Its number.

    Raises:
        DataError: If the manifest is damaged.
        StorageError: If the storage does not answer.
    """
    number = shard // SHARDS_A_FILE
    file = _manifest_file(address, number)
    try:
        columns = file.read_row_group(shard % SHARDS_A_FILE).to_pydict()
        if columns["shard"][0] != shard:
            raise ValueError(f"shard {columns['shard'][0]} where {shard} should be")
        rows = zip(*(columns[name] for name in Item.__dataclass_fields__), strict=True)
        return [Item(*row) for row in rows]
    except (KeyError, IndexError, OSError, ValueError) as error:
        raise DataError(f"{address}/{_manifest_name(number)}: damaged: {error}") from error


@lru_cache(2)
def _manifest_file(address: str, number: int) -> Any:
    name = _manifest_name(number)
    parquet = load_extra("pyarrow.parquet", "farm")
    data = open_storage(address).read(name)
    try:
        return parquet.ParquetFile(io.BytesIO(data), page_checksum_verification=True)
    except (OSError, ValueError) as error:  # pyarrow's ArrowInvalid is one
        raise DataError(f"{address}/{name}: damaged: {error}") from error


def _manifest_name(number: int) -> str:
    return f"manifest-{number:05d}.parquet"


def _absolute(pipeline: PipelineOptions) -> PipelineOptions:
    """The same models under names that hold in every folder, one thread a worker."""
    files = {
        name: str(Path(value).absolute())
        for name in ("detector", "pose", "stn", "boxes", "annotations", "card", "nms")
        if (value := getattr(pipeline, name)) and Path(value).is_file()
    }
    changed = to_mapping(asdict(pipeline)) | files | {"threads": 1}
    return from_mapping(PipelineOptions, changed, "options")


def _find(
    sources: Sequence[str], listing: Iterable[str] | None
) -> tuple[list[ImageItem], list[ImageItem], Mapping[Path, str]]:
    """Photos, videos, and the addresses of those that are remote."""
    suffixes = SUFFIXES | VIDEO_SUFFIXES
    addresses = list_remote([source for source in sources if is_remote(source)], REMOTE, suffixes)
    local = [source for source in sources if not is_remote(source)]
    depths = list_files(local, listing, suffixes=suffixes)
    depths |= dict.fromkeys(addresses, 1)
    if not depths:
        raise DataError(
            f"no photos and no videos found in {', '.join(sources)}"
            f" (looked for {' '.join(sorted(suffixes))})"
        )
    videos = {path: depths.pop(path) for path in [path for path in depths if is_video(path)]}
    return named(depths), named(videos), addresses


def _folder(items: Sequence[ImageItem], addresses: Mapping[Path, str]) -> str:
    """The working folder, where all files are named from it and its name is text."""
    local = (item.path for item in items if item.path not in addresses)
    here = os.getcwd()  # noqa: PTH109 - text
    return "" if not _is_text(here) or any(path.is_absolute() for path in local) else here


def _address(path: Path, addresses: Mapping[Path, str]) -> str:
    """Where every machine finds a file; text, whatever bytes its name has."""
    address = addresses.get(path, str(path)).removeprefix("file://")
    if is_remote(address):
        return address
    address = os.path.abspath(address)  # noqa: PTH100 - follows no links
    return address if _is_text(address) else Path(address).as_uri()


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _as_text(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _write_manifest(storage: Storage, run: Run, *kinds: Iterator[Item]) -> None:
    """Write the files of the manifest, a row group a shard."""
    pyarrow = load_extra("pyarrow", "farm")
    parquet = load_extra("pyarrow.parquet", "farm")
    schema = pyarrow.schema(
        [
            ("shard", pyarrow.int32()),
            ("image_id", pyarrow.int64()),
            ("file", pyarrow.string()),
            ("name", pyarrow.string()),
            ("path", pyarrow.string()),
        ]
    )
    rows = (item for kind in kinds for item in kind)
    shards = ((shard, list(islice(rows, run.size(shard)))) for shard in run.shards)
    for number in range(-(-len(run.shards) // SHARDS_A_FILE)):
        buffer = io.BytesIO()
        with parquet.ParquetWriter(
            buffer, schema, compression="zstd", write_page_checksum=True
        ) as writer:
            for shard, items in islice(shards, SHARDS_A_FILE):
                columns = [
                    [shard] * len(items),
                    [item.image_id for item in items],
                    [_as_text(item.file) for item in items],
                    [_as_text(item.name) for item in items],
                    [item.path for item in items],
                ]
                arrays = [
                    pyarrow.array(column, kind.type)
                    for column, kind in zip(columns, schema, strict=True)
                ]
                writer.write_table(pyarrow.Table.from_arrays(arrays, schema=schema))
        storage.write(_manifest_name(number), buffer.getvalue())
