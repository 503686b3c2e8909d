"""The manifest of a model bundle: what the network knows, how to read its outputs, what its file must hash to.

JSON <-> frozen dataclasses, strict both ways: a missing or unknown key is an error, never a default. The exceptions are
``decision``, which older manifests lack: they mean ``anomaly``, the only rule there was; and ``digest``, whose lack is
warned of.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from m2a_core.bundle.camera_image import CameraImage
from m2a_core.bundle.decision import Decision
from m2a_core.bundle.digest import KEY, require_sealed, sealed
from m2a_core.bundle.json_objects import JsonObjects
from m2a_core.bundle.score_profile import FEATURES, ScoreProfile
from m2a_core.errors import ConfigError, ModelError, quoted, shown
from m2a_core.files import json_text, read_regular
from m2a_core.labels.label_set import LabelSet

FORMAT_VERSION = 1
FILE_NAME = "manifest.json"
MAX_BYTES = 1 << 24

_REMEDY = "restore it, or store its present content with `m2a bundle seal`"


@dataclass(frozen=True)
class Thresholds:
    """Where scores become decisions. Which scores, ``Manifest.decision`` says: s and f^r below.

    Attributes:
        anomaly: a pixel is unknown where s is at least this; chosen at 95 % true-positive rate on validation
            (Sec. 5.1). With ``decision: anomaly``, s is f (Eq. 7), which can leave [0, 1], and so can this.
        refined: a pixel is the seed of an unknown instance where f^r is at least this.
        extent: an unknown instance reaches as far as f^r is at least this, in [0, 1].
        peak_share: and as far as the log-odds of f^r are at least this share of those of its own peak, in [0, 1]; 0 for
            everywhere.
        color_area: the outline of an unknown instance up to this share of the image's pixels is drawn by the image's
            colors, and f^r is sharpened along it, in [0, 1]; 0 for none.
        background: a pixel is background where B (Eq. 17) is at least this, in [0, 1].
        keep_score: a query takes part in the panoptic merge when its top known class has at least this probability.
        overlap: a query's segment is kept when at least this share of its mask is still its own after the merge.
        component_overlap: IoU from which a background component belongs to a query's mask (Sec. 6.3, step 2).
        min_area: unknown instances below this share of the image's pixels are dropped; inside the horizon window, of
            the window's pixels.

    Raises:
        ConfigError: a value is not finite or outside its range.
    """

    anomaly: float
    refined: float
    extent: float = 0.5
    peak_share: float = 0.0
    color_area: float = 0.0
    background: float = 0.5
    keep_score: float = 0.5
    overlap: float = 0.8
    component_overlap: float = 0.5
    min_area: float = 2e-4

    def __post_init__(self) -> None:
        """Validate."""
        for f in fields(self):
            value = getattr(self, f.name)
            is_score = f.name in ("anomaly", "refined")
            if not math.isfinite(value) or not (is_score or 0 <= value <= 1):
                expected = "finite number" if is_score else "number in [0, 1]"
                raise ConfigError(f"threshold '{f.name}': expected a {expected}, got {value}")


def require_reachable(thresholds: Thresholds, decision: Decision) -> None:
    """Check that scores can reach the thresholds: those of ``background`` end at 1, those of ``anomaly`` nowhere.

    Raises:
        ConfigError: nothing could ever be unknown.
    """
    for name in ("anomaly", "refined") if decision is Decision.BACKGROUND else ():
        value = getattr(thresholds, name)
        # Calibration may choose the next number above 1, which no known pixel reaches.
        if value > 1 + 1e-6:
            raise ConfigError(
                f"threshold '{name}': expected at most 1, where {decision.value}'s scores end, got {value}"
            )


@dataclass(frozen=True)
class Manifest:
    """Description of one model bundle.

    Attributes:
        name: name of the bundle.
        onnx_file: file name of the graph, beside the manifest.
        onnx_sha256: its SHA-256, hexadecimal.
        input_size: H, W of the network's input, in pixels.
        num_queries: Q.
        labels: the known classes.
        thresholds: where scores become decisions.
        decision: which scores those are.
        mean: RGB mean on 0..255 that the graph subtracts.
        std: RGB standard deviation on 0..255 that the graph divides by.
        license: terms of the weights.
        metrics: measured figures by name, for the reader.
        created_with: versions of what wrote the bundle, by package.
        scores: what the network's answers look like on the calibration frames; None if that was not measured.
        camera: the image that the graph takes; None for one that is letterboxed to ``input_size``.
    """

    name: str
    onnx_file: str
    onnx_sha256: str
    input_size: tuple[int, int]
    num_queries: int
    labels: LabelSet
    thresholds: Thresholds
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    license: str
    decision: Decision = Decision.ANOMALY
    metrics: dict[str, float] = field(default_factory=dict)
    created_with: dict[str, str] = field(default_factory=dict)
    scores: ScoreProfile | None = None
    camera: CameraImage | None = None

    def __post_init__(self) -> None:
        """Check that the thresholds are of the scores; raises `ConfigError`."""
        require_reachable(self.thresholds, self.decision)

    @property
    def graph_size(self) -> tuple[int, int]:
        """H, W of the image that the graph takes."""
        return self.input_size if self.camera is None else self.camera.size

    def to_json(self) -> str:
        """The manifest as JSON text, keys in a fixed order, with its digest."""
        labels = self.labels
        data = {
            "format_version": FORMAT_VERSION,
            "name": self.name,
            "onnx": {"file": self.onnx_file, "sha256": self.onnx_sha256},
            "input_size": list(self.input_size),
            "num_queries": self.num_queries,
            "labels": {
                "name": labels.name,
                "road": None if labels.road is None else labels.names[labels.road],
                "classes": [
                    {"name": name, "thing": i in labels.things, "color": list(labels.colors[i])}
                    for i, name in enumerate(labels.names)
                ],
            },
            "decision": self.decision.value,
            "thresholds": asdict(self.thresholds),
            "normalization": {"mean": list(self.mean), "std": list(self.std)},
            "license": self.license,
            "metrics": self.metrics,
            "created_with": self.created_with,
            **({} if self.scores is None else {"scores": self.scores.to_json()}),
            **({} if self.camera is None else {"camera": asdict(self.camera)}),
        }
        return json_text(sealed(data), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, source: str = "manifest") -> Manifest:
        """Read a manifest.

        Args:
            text: what ``to_json`` gave.
            source: where the text came from, for messages.

        Raises:
            ModelError: not JSON, of another format version, a key missing or unknown, a value of a wrong kind, or
                another digest than the one stated.
        """
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ModelError(f"{source}: not JSON ({error}); export the bundle again with `m2a export`") from error
        if not isinstance(data, dict):
            raise ModelError(f"{source}: expected a JSON object, got {type(data).__name__}")
        version = data.get("format_version")
        if version != FORMAT_VERSION:
            raise ModelError(
                f"{source}: format_version is {shown(version)}, this m2a reads {FORMAT_VERSION}; "
                "export the bundle again or use the m2a that wrote it"
            )
        try:
            manifest = _Reader(source).manifest({key: value for key, value in data.items() if key != KEY})
            require_sealed(data, source, _REMEDY)
            return manifest
        except RecursionError as error:
            raise ModelError(f"{source}: nested too deeply; export the bundle again with `m2a export`") from error

    @classmethod
    def load(cls, path: Path, check: Callable[[bytes], object] = lambda content: None) -> Manifest:
        """Read a manifest file.

        Args:
            path: the file.
            check: sees the bytes that are read, before anything is made of them.

        Raises:
            ModelError: no such file, or see ``from_json``.
        """
        try:
            content = read_regular(path, MAX_BYTES)
            check(content)
            text = content.decode()
        except (OSError, UnicodeDecodeError) as error:
            raise ModelError(f"{path}: cannot read the manifest ({error}); a bundle needs {FILE_NAME}") from error
        return cls.from_json(text, str(path))


class _Reader(JsonObjects):
    """Takes a manifest apart."""

    def manifest(self, data: dict[str, Any]) -> Manifest:
        keys = {"format_version", "name", "onnx", "input_size", "num_queries", "labels", "thresholds", "normalization"}
        data = {"decision": Decision.ANOMALY.value, **data}
        optional = {"scores", "camera"} & set(data)
        self.keys("", data, keys | optional | {"decision", "license", "metrics", "created_with"})
        onnx = self.object(data, "onnx", {"file", "sha256"})
        norm = self.object(data, "normalization", {"mean", "std"})
        thresholds = self.object(data, "thresholds", {f.name for f in fields(Thresholds)})
        height, width = self.numbers(data, "input_size", 2, int)
        mean, std = (self.numbers(norm, key, 3, float) for key in ("mean", "std"))
        name = self.value(data, "name", str)
        if not name or name == ".." or name != Path(name).name or not name.isprintable():
            raise ModelError(f"{self.source}: 'name' is {quoted(name)}, expected one without folders")
        try:
            return Manifest(
                name=name,
                onnx_file=self.value(onnx, "file", str),
                onnx_sha256=self.value(onnx, "sha256", str),
                input_size=(height, width),
                num_queries=self.value(data, "num_queries", int),
                labels=self._labels(self.object(data, "labels", {"name", "road", "classes"})),
                thresholds=Thresholds(**{key: self.value(thresholds, key, float) for key in thresholds}),
                mean=(mean[0], mean[1], mean[2]),
                std=(std[0], std[1], std[2]),
                license=self.value(data, "license", str),
                decision=self._decision(self.value(data, "decision", str)),
                metrics={k: self.value(data["metrics"], k, float) for k in self.value(data, "metrics", dict)},
                created_with={
                    k: self.value(data["created_with"], k, str) for k in self.value(data, "created_with", dict)
                },
                scores=self._scores(data) if "scores" in data else None,
                camera=self._camera(data) if "camera" in data else None,
            )
        except ConfigError as error:
            raise ModelError(f"{self.source}: {error}") from error

    def _scores(self, data: dict[str, Any]) -> ScoreProfile:
        scores = self.object(data, "scores", {f.name for f in fields(ScoreProfile)})
        rows = self.value(scores, "precision", list)
        if len(rows) != FEATURES:
            raise ModelError(f"{self.source}: 'scores.precision' has {len(rows)} rows, expected {FEATURES}")
        center, scale = (tuple(self.numbers(scores, key, FEATURES, float)) for key in ("center", "scale"))
        precision = tuple(tuple(self.numbers({"precision": row}, "precision", FEATURES, float)) for row in rows)
        limit, frames = self.value(scores, "limit", float), self.value(scores, "frames", int)
        return ScoreProfile(center, scale, precision, limit, frames)

    def _camera(self, data: dict[str, Any]) -> CameraImage:
        camera = self.object(data, "camera", {f.name for f in fields(CameraImage)})
        height, width = self.numbers(camera, "size", 2, int)
        encoding, threshold = self.value(camera, "encoding", str), self.value(camera, "threshold", float)
        return CameraImage((height, width), encoding, threshold)

    def _decision(self, name: str) -> Decision:
        try:
            return Decision(name)
        except ValueError:
            known = ", ".join(decision.value for decision in Decision)
            raise ModelError(f"{self.source}: 'decision' is {quoted(name)}, this m2a knows {known}") from None

    def _labels(self, data: dict[str, Any]) -> LabelSet:
        classes = self.value(data, "classes", list)
        for i, entry in enumerate(classes):
            if not isinstance(entry, dict):
                raise ModelError(f"{self.source}: labels.classes[{i}] is not an object")
            self.keys(f"labels.classes[{i}].", entry, {"name", "thing", "color"})
        names = tuple(self.value(entry, "name", str) for entry in classes)
        road = data["road"]
        if road is not None and road not in names:
            raise ModelError(f"{self.source}: labels.road is {shown(road)}, expected null or one of {list(names)}")
        colors = [self.numbers(entry, "color", 3, int) for entry in classes]
        return LabelSet(
            name=self.value(data, "name", str),
            names=names,
            things=frozenset(i for i, entry in enumerate(classes) if self.value(entry, "thing", bool)),
            colors=tuple((r, g, b) for r, g, b in colors),
            road=None if road is None else names.index(road),
        )
