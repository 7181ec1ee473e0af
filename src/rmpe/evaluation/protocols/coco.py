"""COCO keypoints and person boxes, evaluated by hotcoco or else pycocotools.

The library does the matching. Subsets and bootstrap samples reuse its match lists.
"""

import contextlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rmpe.annotations.categories import PERSON
from rmpe.errors import MissingPackageError
from rmpe.evaluation.files.submissions import People, Record
from rmpe.evaluation.matching.ranked import Ranked
from rmpe.extras import missing_line

Kind: TypeAlias = Literal["keypoints", "bbox"]
Engine: TypeAlias = Literal["hotcoco", "pycocotools"]

THRESHOLDS = np.linspace(0.5, 0.95, 10)


@dataclass(frozen=True, eq=False)
class CocoEvaluation:
    """The evaluation of one results file.

    Attributes:
        figures: COCO's figures in [0, 1]; -1 where undefined.
        precision: ``(10, 101)``, interpolated precision per threshold, all sizes.
        people: The annotations.
        run_on: Runs the library's evaluation on the images with the given ids.
    """

    figures: dict[str, Any]
    precision: NDArray[np.float64]
    people: People
    run_on: Callable[[list[int]], Any]

    def ap_of(self, image_ids: list[int]) -> float:
        """AP over some of the images; -1 if they contain no annotated people."""
        return (
            _mean(np.asarray(self.run_on(image_ids).eval["precision"])[..., 0, 0, -1])
            if image_ids
            else -1.0
        )

    @cached_property
    def ranked(self) -> dict[str, Ranked]:
        """Match lists per size (``all``, ``medium``, ...), in the order of ``people.image_ids``."""
        return {size: _ranked(records) for size, records in self._by_size.items()}

    @cached_property
    def found(self) -> dict[int, NDArray[np.bool_]]:
        """Whether each counted person, by annotation id, is found at each threshold ``(10,)``."""
        annotations = self.people.annotations
        return {
            annotations[number - 1]["id"]: found
            for number, found in _found(self._by_size["all"]).items()
        }

    @cached_property
    def _by_size(self) -> dict[str, list[dict[str, Any] | None]]:
        """Match records per size, in the order of the images.

        A record is None if the image has neither people nor detections. The records are read on
        demand, because hotcoco has to convert them to Python objects, which is slow.
        """
        images = self.people.image_ids
        run = self.run_on(images)
        # The two libraries order records differently, so look them up by size and image.
        found = {
            (tuple(record["aRng"]), record["image_id"]): record for record in run.evalImgs if record
        }
        ranges = zip(run.params.areaRngLbl, run.params.areaRng, strict=True)
        return {
            size: [found.get((tuple(limits), place)) for place in range(len(images))]
            for size, limits in ranges
        }


def evaluate_coco(
    people: People,
    results: list[Record],
    kind: Kind = "keypoints",
    sigmas: tuple[float, ...] | None = None,
    engine: Engine | None = None,
) -> CocoEvaluation:
    """Evaluate checked results.

    Args:
        people: Annotations from `rmpe.evaluation.files.submissions.check_people`.
        results: Detections from `rmpe.evaluation.files.submissions.check_results`.
        kind: Whether to evaluate keypoints or boxes.
        sigmas: OKS constants of the joints; COCO's 17 if None.
        engine: The library; if None, hotcoco if it is installed, else pycocotools.

    Raises:
        MissingPackageError: If neither library is installed.
    """
    dataset_class, evaluation_class = _library(engine)
    # hotcoco refuses numbers below 0, which are as good as any: it gets the images' places.
    places = {image_id: place for place, image_id in enumerate(people.image_ids)}
    with _silence():
        datasets = _datasets(dataset_class, people, _bare(results, kind), places)

    def run_on(image_ids: list[int]) -> Any:
        with _silence():
            run = evaluation_class(*datasets, kind)
            run.params.catIds = [PERSON]
            run.params.imgIds = [places[image_id] for image_id in image_ids]
            if sigmas is not None:
                run.params.kpt_oks_sigmas = np.array(sigmas, np.float64)
            run.evaluate()
            run.accumulate()
        return run

    run = run_on(people.image_ids)
    tables = {name: np.asarray(run.eval[name])[..., 0, :, :] for name in ("precision", "recall")}
    figures_of = _keypoint_figures if kind == "keypoints" else _box_figures
    figures = figures_of(tables, list(run.params.areaRngLbl)) | {"n_detections": len(results)}
    return CocoEvaluation(figures, tables["precision"][:, :, 0, -1], people, run_on)


def _silence() -> contextlib.AbstractContextManager[Any]:
    """Discard the progress output of pycocotools."""
    return contextlib.redirect_stdout(io.StringIO())


def _library(engine: Engine | None) -> tuple[Any, Any]:
    """The classes ``COCO`` and ``COCOeval``; hotcoco uses the same names as pycocotools."""
    modules = {
        "hotcoco": ("hotcoco", "hotcoco"),
        "pycocotools": ("pycocotools.coco", "pycocotools.cocoeval"),
    }
    for name in (engine,) if engine else tuple(modules):
        with contextlib.suppress(ImportError):
            dataset, evaluation = (import_module(module) for module in modules[name])
            return dataset.COCO, evaluation.COCOeval
    raise MissingPackageError(missing_line(engine or "hotcoco", "eval"))


def _bare(results: list[Record], kind: Kind) -> list[Record]:
    """The results with only the fields that are evaluated.

    Given a ``bbox``, pycocotools would compute a pose's area from it, which changes AP_medium.
    """
    return [
        {key: result[key] for key in ("image_id", "category_id", "score", kind)}
        for result in results
    ]


def _datasets(
    dataset_class: Any, people: People, results: list[Record], places: dict[int, int]
) -> tuple[Any, Any]:
    """Annotations and detections as objects of the library, from copies that it may modify.

    Args:
        dataset_class: The library's ``COCO``.
        people: The annotations.
        results: The detections, all of people.
        places: Id of an image -> the number that the library gets in its stead.
    """

    def numbered(record: Record) -> Record:
        return record | {"image_id": places[record["image_id"]], "category_id": PERSON}

    # Ids start at 1, because pycocotools treats a match with annotation 0 as no match.
    annotations = [
        numbered(annotation) | {"id": number}
        for number, annotation in enumerate(people.annotations, 1)
    ]
    dataset = {
        "images": [image | {"id": places[image["id"]]} for image in people.images],
        "annotations": annotations,
        "categories": [{"id": PERSON, "name": "person"}],
    }
    results = [numbered(result) for result in results]
    truth = dataset_class()
    truth.dataset = dataset
    truth.createIndex()
    if results:
        return truth, truth.loadRes(results)
    nothing = dataset_class()  # pycocotools cannot load an empty list
    nothing.dataset = dataset | {"annotations": []}
    nothing.createIndex()
    return truth, nothing


def _ranked(records: list[dict[str, Any] | None]) -> Ranked:
    scores = [np.zeros(0)]
    image = [np.zeros(0, int)]
    hits = [np.zeros((10, 0))]
    counted = [np.zeros((10, 0), bool)]
    truths = np.zeros(len(records), np.int64)
    for index, record in enumerate(records):
        if record is None:
            continue
        found = np.asarray(record["dtScores"], np.float64)
        scores.append(found)
        image.append(np.full(len(found), index))
        hits.append(np.asarray(record["dtMatches"]).reshape(10, -1))
        counted.append(~np.asarray(record["dtIgnore"], bool).reshape(10, -1))
        truths[index] = np.sum(~np.asarray(record["gtIgnore"], bool))
    matched = np.concatenate(hits, axis=1) > 0
    return Ranked.sort(
        np.concatenate(scores),
        np.concatenate(image),
        matched,
        np.concatenate(counted, axis=1),
        truths,
    )


def _found(records: list[dict[str, Any] | None]) -> dict[int, NDArray[np.bool_]]:
    found = {}
    for record in filter(None, records):
        matches = np.asarray(record["gtMatches"]).reshape(10, -1) > 0
        for column, (identity, ignored) in enumerate(
            zip(record["gtIds"], record["gtIgnore"], strict=True)
        ):
            if not ignored:
                found[identity] = matches[:, column]
    return found


def _mean(table: NDArray[np.float64]) -> float:
    """Mean of the defined entries (undefined ones are -1); -1 if there are none."""
    defined = table[table > -1]
    return float(defined.mean()) if len(defined) else -1.0


def _per_threshold(tables: dict[str, NDArray[np.float64]]) -> dict[str, Any]:
    precision = tables["precision"][:, :, 0, -1]
    recall = tables["recall"][:, 0, -1]
    return {
        "thresholds": THRESHOLDS.tolist(),
        "AP_per_threshold": [_mean(row) for row in precision],
        "AR_per_threshold": [_mean(row[None]) for row in recall],
    }


def _keypoint_figures(tables: dict[str, NDArray[np.float64]], sizes: list[str]) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for name, table in (("AP", tables["precision"][..., -1]), ("AR", tables["recall"][..., -1])):
        figures |= {
            name: _mean(table[..., 0]),
            f"{name}50": _mean(table[0, ..., 0]),
            f"{name}75": _mean(table[5, ..., 0]),
        }
        figures |= {
            f"{name}_{size}": _mean(table[..., sizes.index(size)]) for size in ("medium", "large")
        }
    return figures | _per_threshold(tables)


def _box_figures(tables: dict[str, NDArray[np.float64]], sizes: list[str]) -> dict[str, Any]:
    precision = tables["precision"][..., -1]
    recall = tables["recall"]
    figures = {
        "AP": _mean(precision[..., 0]),
        "AP50": _mean(precision[0, :, 0]),
        "AP75": _mean(precision[5, :, 0]),
    }
    figures |= {
        f"AP_{size}": _mean(precision[..., sizes.index(size)])
        for size in ("small", "medium", "large")
    }
    figures |= {
        f"AR_max{most}": _mean(recall[:, 0, index]) for index, most in enumerate((1, 10, 100))
    }
    figures |= {
        f"AR_{size}": _mean(recall[:, sizes.index(size), -1])
        for size in ("small", "medium", "large")
    }
    return figures | _per_threshold(tables)
