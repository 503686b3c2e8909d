"""The Python interface: ``import m2a_core as m2a; result = m2a.load("m2a-edge")(image)``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from m2a_core.bundle.loading import DEFAULT_MODEL
from m2a_core.contract.io_spec import MASK_STRIDE
from m2a_core.errors import ConfigError, DataError
from m2a_core.files import replaced
from m2a_core.geometry.calibration_file import parse_mounting, read_calibration
from m2a_core.images import read_image
from m2a_core.interop.detections import detection_arrays
from m2a_core.labels.label_set import LabelSet
from m2a_core.overlay import draw_overlay
from m2a_core.perception import Perception
from m2a_core.preprocess import Geometry, Letterbox
from m2a_core.reporting.legend import with_legend
from m2a_core.stream.camera_stream import CameraStream
from m2a_core.stream.config import StreamConfig
from m2a_core.stream.objects import TrackedObject
from m2a_core.stream.sensors import Sensors
from m2a_core.stream.video_source import VideoSource
from m2a_core.types import ALL_OUTPUTS, Frame, OpenSetResult, UnknownInstance, check_array

if TYPE_CHECKING:
    from supervision import Detections

_JPEG_QUALITY = 92


@dataclass(frozen=True)
class Result:
    """What m2a found in one image.

    Attributes:
        image: uint8 [H, W, 3], RGB: the image.
        labels: the known classes.
        maps: all maps and instances; see ``OpenSetResult``.
        stamp_ns: time of the frame in nanoseconds, from the start of a video file; 0 for a single image.
        objects: the confirmed unknown objects of a video frame, each with its ``location`` in metres where the
            camera's calibration is known; empty for a single image.
    """

    image: np.ndarray
    labels: LabelSet
    maps: OpenSetResult
    stamp_ns: int = 0
    objects: tuple[TrackedObject, ...] = ()

    @property
    def anomaly(self) -> np.ndarray:
        """float32 [H, W]: f = 1 - max S (Eq. 7), higher = more anomalous."""
        return _there(self.maps.anomaly)

    @property
    def score(self) -> np.ndarray:
        """float32 [H, W]: the score that decides what is unknown, higher = more anomalous."""
        return _there(self.maps.score)

    @property
    def open_set(self) -> np.ndarray:
        """uint8 [H, W]: class id, ``labels.unknown_id`` for unknown, 255 for unlabelled."""
        return _there(self.maps.open_set)

    @property
    def panoptic(self) -> np.ndarray:
        """int32 [H, W]: class id * 256 + instance; 65535 for no segment."""
        return _there(self.maps.panoptic)

    @property
    def unknown_instances(self) -> np.ndarray:
        """uint16 [H, W]: 0 for none, else the id of one of ``instances``."""
        return _there(self.maps.unknown_instances)

    @property
    def instances(self) -> tuple[UnknownInstance, ...]:
        """The unknown objects, the surest first."""
        return self.maps.instances

    def overlay(self, legend: bool = False) -> np.ndarray:
        """Draw classes, unknown areas and outlines of unknown objects over the image.

        Args:
            legend: add rows below the image that say what the colours mean.

        Returns:
            uint8 [H, W, 3], RGB; higher than the image with a legend.
        """
        drawn = draw_overlay(self.image, self.maps, self.labels)
        return with_legend(drawn, self.labels) if legend else drawn

    def save(self, path: str | Path, legend: bool = True) -> None:
        """Write the maps (``.npz``, the keys of ``m2a predict``) or the overlay (an image's suffix).

        Args:
            path: the file; its suffix says what is written.
            legend: add rows below the overlay that say what its colours mean.

        Raises:
            DataError: the suffix is neither, or the file cannot be written.
        """
        import cv2

        path = Path(path)
        try:
            with replaced(path) as temporary:
                if path.suffix == ".npz":
                    arrays = {output.value: getattr(self.maps, output.value) for output in ALL_OUTPUTS}
                    np.savez_compressed(temporary, **{k: v for k, v in arrays.items() if v is not None})
                else:
                    options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if path.suffix in (".jpg", ".jpeg") else []
                    cv2.imwrite(str(temporary), self.overlay(legend)[..., ::-1], options)
        except cv2.error as error:
            raise DataError(f"{path}: expected .npz for maps, or an image's suffix such as .jpg or .png") from error
        except OSError as error:
            raise DataError(f"{path}: cannot write ({error.strerror})") from error

    def to_detections(self) -> Detections:
        """The unknown objects as ``supervision.Detections``: boxes, masks, scores; needs the package ``supervision``.

        Class id is ``labels.unknown_id``, ``data["class_name"]`` is "unknown", ``tracker_id`` the instance's id.

        Raises:
            ConfigError: the package is missing.
        """
        try:
            from supervision import Detections
        except ModuleNotFoundError as error:
            raise ConfigError(f"detections need the Python package '{error.name}': pip install supervision") from error

        arrays = detection_arrays(self.maps, self.labels)
        return Detections(data={"class_name": arrays.pop("class_name")}, **arrays)


@dataclass(frozen=True)
class Logits:
    """The network's own answer to one look at an image, for anomaly scores of your own.

    Attributes:
        class_logits: float32 [Q, K+1], C: the classes of each query; the last one is "no object".
        mask_logits: float32 [Q, h, w], M: the mask of each query, at a quarter of the network's input.
        geometry: how the image lies in the network's input.
    """

    class_logits: np.ndarray
    mask_logits: np.ndarray
    geometry: Geometry

    def at_image_size(self, values: np.ndarray) -> np.ndarray:
        """Bring a map of the masks' size, float32 [h, w], to the image's, float32 [H, W]."""
        import cv2

        size = (MASK_STRIDE * values.shape[1], MASK_STRIDE * values.shape[0])
        return self.geometry.undo_continuous(cv2.resize(values, size, interpolation=cv2.INTER_LINEAR))


class Model:
    """A loaded model; a context manager, and a function of an image."""

    def __init__(self, perception: Perception) -> None:
        """Wrap a perception; ``load`` is the usual way."""
        self._perception = perception

    @property
    def name(self) -> str:
        """The bundle's name."""
        return self._perception.manifest.name

    @property
    def labels(self) -> LabelSet:
        """The known classes."""
        return self._perception.labels

    def __call__(self, image: np.ndarray | str | Path) -> Result:
        """Perceive an image.

        Args:
            image: uint8 [H, W, 3], **RGB** (of an image that OpenCV read: ``image[..., ::-1]``), or a file's path.

        Raises:
            DataError: it is neither such an array nor an image file.
            InferenceError: the network failed.
        """
        rgb = _rgb(image)
        return Result(rgb, self.labels, self._perception.infer(Frame(rgb)))

    def logits(self, image: np.ndarray | str | Path) -> Logits:
        """Class and mask logits of one look at the whole image; arguments and errors as in ``__call__``."""
        rgb = _rgb(image)
        _, network = self._perception.infer_raw(Frame(rgb), frozenset())
        assert network.class_logits is not None
        assert network.mask_logits is not None
        geometry = Letterbox(self._perception.manifest.input_size).geometry(*rgb.shape[:2])
        return Logits(network.class_logits, network.mask_logits, geometry)

    def track(
        self, source: str | Path | int, *, calibration: str | Path | None = None, mounting: str = ""
    ) -> Iterator[Result]:
        """Perceive a video and follow its unknown objects from frame to frame.

        Args:
            source: a video file, the index of a camera, or a URL that OpenCV opens. A file gives every frame; a live
                source gives the latest one and drops those that came meanwhile.
            calibration: YAML of ROS's ``camera_calibration``; ``objects`` then have a place in metres.
            mounting: where the camera sits, ``height=1.4,pitch=0.02`` (metres, radians); 1.5 m and level if empty.

        Yields:
            One result a frame. Ids of ``instances``, ``objects`` and maps are the same for one object over all frames.

        Raises:
            DataError: the source cannot be opened or read, or ``calibration`` is not a calibration file.
            ConfigError: ``mounting`` is not understood.
            InferenceError: the network failed.
        """
        info = None if calibration is None else read_calibration(Path(calibration))
        config = StreamConfig(mounting=parse_mounting(mounting)) if mounting else StreamConfig()
        stream = CameraStream()
        with VideoSource(str(source)) as video:
            for frame in video.frames():
                seen = stream.process(frame, Sensors(info), ALL_OUTPUTS, self._perception, config)
                yield Result(seen.frame.image, self.labels, seen.result, frame.stamp_ns, seen.objects)

    def close(self) -> None:
        """Free the network."""
        self._perception.close()

    def __enter__(self) -> Model:
        """Nothing to do."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Free the network."""
        self.close()


def load(
    name_or_path: str | Path = DEFAULT_MODEL,
    *,
    backend: str = "onnxruntime",
    threads: int | None = None,
    horizon: bool = True,
) -> Model:
    """Load a model.

    Args:
        name_or_path: a name such as ``m2a-edge``, a bundle's directory, or its ``.onnx`` file.
        backend: what runs it: ``onnxruntime`` (the processor), ``tensorrt`` and others; see docs/tensorrt.md.
        threads: processor threads for one inference; None for all cores.
        horizon: look a second time at the road's far end: small objects far away for twice the time.

    Raises:
        ModelError: the bundle is missing, corrupt or does not match its manifest.
        ConfigError: the back end is unknown or ``threads`` is below 1.
    """
    return Model(Perception.load(name_or_path, backend, threads, horizon=horizon))


def _rgb(image: np.ndarray | str | Path) -> np.ndarray:
    rgb = image if isinstance(image, np.ndarray) else read_image(Path(image))
    check_array("image", rgb, np.uint8, (None, None, 3))
    return np.ascontiguousarray(rgb)


def _there(values: np.ndarray | None) -> np.ndarray:
    assert values is not None, "every output is computed"
    return values
