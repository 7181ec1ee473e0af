"""The nets of an ablation: found, trained or resumed, and exported.

PyTorch is imported only for training and export.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rmpe.ablation.plan import AblationConfig, Setting, Train, all_runs
from rmpe.checkpoints import read_header
from rmpe.config import load_config, to_mapping
from rmpe.errors import DataError, ModelError, UsageError
from rmpe.models import resolve_model
from rmpe.runtime import sha256_of

Log = Callable[[str], None]

CHECKPOINT = "model.safetensors"
OWN_STN = ("composed", "crop")
JOINED = "sstn_sppe"
# Keys of a training configuration that do not affect the result.
PLACES = ("run", "start", "device", "threads", "log_every", "save_every", "tensorboard", "validate")


@dataclass(frozen=True)
class Nets:
    """The nets of a row.

    Attributes:
        pose: ONNX file of the pose estimator.
        stn: ONNX file of the spatial transformer before it, if any.
        identity: Identifies the weights and the way they are combined.
    """

    pose: Path
    stn: Path | None
    identity: tuple[str, str]


class Runs:
    """Finds, trains and exports the nets that rows name.

    Args:
        config: The ablation.
        log: Receives lines of progress.
    """

    def __init__(self, config: AblationConfig, log: Log) -> None:
        self.config = config
        self.log = log
        self.by_name = {run.name: run for run in all_runs(config)}

    def nets(self, setting: Setting) -> Nets:
        """The nets of a row; they are trained if necessary.

        Raises:
            RmpeError: If they cannot be found or trained.
        """
        source = self._file(setting.pose, "pose")
        joined = source.suffix == ".safetensors" and header(source)["model"]["name"] == JOINED
        own = setting.stn in OWN_STN
        if joined and setting.stn == "crop":
            return Nets(
                self._onnx(source, "crop") / "sstn_sppe.onnx", None, (sha256_of(source), "crop")
            )
        pose = (
            self._onnx(source, "composed") / "sppe.onnx"
            if source.suffix == ".safetensors"
            else source
        )
        if own and joined:
            return Nets(pose, pose.with_name("stn.onnx"), (sha256_of(source), "composed"))
        if own or setting.stn == "none":
            return Nets(pose, None, (sha256_of(source), "none"))
        before = self._file(setting.stn, "stn")
        digest = sha256_of(before)
        stn = (
            self._onnx(before, "composed") / "stn.onnx"
            if before.suffix == ".safetensors"
            else before
        )
        return Nets(pose, stn, (sha256_of(source), digest))

    def unfinished(self, setting: Setting) -> str:
        """The name of an unfinished run that a row needs, or an empty string."""
        runs = [self.by_name[name] for name, _ in _named(setting) if name in self.by_name]
        return next((run.name for run in runs if not finished(self._checkpoint(run))), "")

    def check(self, setting: Setting) -> None:
        """Check that all files of a row exist or can be created.

        Raises:
            RmpeError: If not.
        """
        for name, kind in _named(setting):
            if name in self.by_name:
                self._check_run(self.by_name[name])
            else:
                self._existing(name, kind)

    def _check_run(self, run: Train) -> None:
        if not finished(self._checkpoint(run)) and not run.config.is_file():
            raise DataError(f"{run.config}: the configuration of run {run.name!r} does not exist")
        if not finished(self._checkpoint(run)) and run.start is not None:
            self._check_run(self.by_name[run.start])

    def _checkpoint(self, run: Train) -> Path:
        return self.config.runs / run.name / CHECKPOINT

    def _file(self, name: str, kind: str) -> Path:
        """The checkpoint or ONNX file with the given name."""
        return (
            self._trained(self.by_name[name])
            if name in self.by_name
            else self._existing(name, kind)
        )

    def _existing(self, name: str, kind: str) -> Path:
        if name.endswith(".safetensors"):
            header(Path(name))
            return Path(name)
        try:
            return resolve_model(name, kind)
        except ModelError as error:
            known = f"; runs: {', '.join(self.by_name)}" if self.by_name else ""
            raise UsageError(f"{error}{known}") from error

    def _trained(self, run: Train) -> Path:
        path = self._checkpoint(run)
        if finished(path):
            return path
        if run.start is not None:
            self._trained(self.by_name[run.start])
        from rmpe.training.loop import Trainer

        trainer = Trainer(self._settings(run), self.log)
        resume = path.with_name("state.pt").is_file()
        self.log(f"run {run.name}: {'resuming' if resume else 'training'}")
        if resume:
            trainer.resume()
        return trainer.fit()

    def _settings(self, run: Train) -> Any:
        from rmpe.training.pose.fit import TrainConfig

        start = (
            []
            if run.start is None
            else [f"start={self._checkpoint(self.by_name[run.start]).as_posix()}"]
        )
        folder = f"run={(self.config.runs / run.name).as_posix()}"
        return load_config(TrainConfig, run.config, [folder, *start, *run.set])

    def _onnx(self, checkpoint: Path, way: str) -> Path:
        """The folder of a checkpoint's ONNX files, which are exported once per content."""
        out = self.config.out / "models" / f"{sha256_of(checkpoint)[:16]}-{way}"
        if not (out / "done").is_file():
            from rmpe.export import export_checkpoint

            self._compare(checkpoint)
            self.log(f"{checkpoint}: exporting")
            export_checkpoint(checkpoint, out, "crop" if way == "crop" else "composed")
            (out / "done").touch()
        return out

    def _compare(self, checkpoint: Path) -> None:
        """Warn if a run was trained with another configuration than the ablation's."""
        run = self.by_name.get(checkpoint.parent.name)
        if run is None or self._checkpoint(run) != checkpoint or not run.config.is_file():
            return
        was = _of_the_result(header(checkpoint).get("training", {}))
        now = _of_the_result(to_mapping(self._settings(run)))
        # Keys may have been added since, and JSON has no tuples.
        changed = [
            key for key in was if key in now and was[key] != json.loads(json.dumps(now[key]))
        ]
        if changed:
            self.log(
                f"warning: {checkpoint}: used as it is, but trained with other {', '.join(changed)}"
            )


def _of_the_result(training: dict[str, Any]) -> dict[str, Any]:
    """A training configuration without what does not affect its result."""
    kept = {key: value for key, value in training.items() if key not in PLACES}
    if "data" in kept:
        kept["data"] = {key: value for key, value in kept["data"].items() if key != "cache"}
    return kept


def _named(setting: Setting) -> list[tuple[str, str]]:
    """The models that a row names, with their kinds."""
    before = [] if setting.stn in (*OWN_STN, "none") else [(setting.stn, "stn")]
    return [(setting.pose, "pose"), *before]


def finished(checkpoint: Path) -> bool:
    """Whether a run has finished all its steps."""
    if not checkpoint.is_file():
        return False
    saved = header(checkpoint)
    return bool(saved.get("steps", 0) >= saved.get("training", {}).get("steps", 0))


def header(checkpoint: Path) -> dict[str, Any]:
    """The metadata of a checkpoint, read without its weights.

    Raises:
        ModelError: If it cannot be read or is not an rmpe checkpoint.
    """
    return read_header(checkpoint).config
