"""A composed clip on disk: JPEG frames, PNG ground truth, and a YAML file with camera, motion and objects.

Layout of the folder: ``clip.yaml``, ``frames/000.jpg`` ..., ``truth/000.png`` ... (0 known, 1 anomaly, 255 void).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import yaml

from m2a_core.compose.composer import Sighting
from m2a_core.compose.ground import GroundCamera, Pose
from m2a_core.data.files import read_truth
from m2a_core.errors import MALFORMED, DataError, M2aError, shown
from m2a_core.images import read_image
from m2a_core.yaml_file import read_yaml

FORMAT = 1
JPEG_QUALITY = 88


@dataclass(frozen=True)
class Clip:
    """A clip with ground truth.

    Attributes:
        folder: where its files are.
        frame_rate: frames per second.
        camera: the camera.
        poses: the camera's pose per frame.
        sightings: the objects seen, per frame.
    """

    folder: Path
    frame_rate: float
    camera: GroundCamera
    poses: tuple[Pose, ...]
    sightings: tuple[tuple[Sighting, ...], ...]

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.poses)

    def image(self, index: int) -> np.ndarray:
        """Frame ``index`` as uint8 [H, W, 3] RGB.

        Raises:
            DataError: the file is missing, unreadable or of another size.
        """
        path = self.folder / "frames" / f"{index:03d}.jpg"
        return self._fitting(read_image(path), path)

    def truth(self, index: int) -> np.ndarray:
        """Ground truth of frame ``index`` as uint8 [H, W]: 0 known, 1 anomaly, 255 void.

        Raises:
            DataError: the file is missing, unreadable or of another size.
        """
        path = self.folder / "truth" / f"{index:03d}.png"
        return self._fitting(read_truth(path), path)

    def _fitting(self, image: np.ndarray, path: Path) -> np.ndarray:
        want = (self.camera.height, self.camera.width)
        if image.shape[:2] != want:
            raise DataError(
                f"{path}: expected {list(want)} pixels, got {list(image.shape[:2])}; install the clip's folder again"
            )
        return image


def ping_pong(length: int, step: int) -> int:
    """Frame index at a step of playing a clip of ``length`` frames forth and back without repeating the ends."""
    if length == 1:
        return 0
    step %= 2 * (length - 1)
    return step if step < length else 2 * (length - 1) - step


def load_clip(folder: Path) -> Clip:
    """Load a clip's description; frames are read when asked for.

    Raises:
        DataError: ``clip.yaml`` is missing or malformed.
    """
    path = folder / "clip.yaml"
    if not path.is_file():
        raise DataError(f"{path}: expected a clip's description, found none; give the folder that holds clip.yaml")
    try:
        data = read_yaml(path)
        if data["format"] != FORMAT:
            raise DataError(f"{path}: expected format {FORMAT}, got {data['format']}")
        camera = GroundCamera(**{**data["camera"], "center": tuple(data["camera"]["center"])})
        poses = tuple(Pose(**frame["pose"]) for frame in data["frames"])
        sightings = tuple(
            tuple(Sighting(**{**s, "foot": tuple(s["foot"]), "bbox": tuple(s["bbox"])}) for s in frame["objects"])
            for frame in data["frames"]
        )
        return Clip(folder, float(data["frame_rate"]), camera, poses, sightings)
    except (OSError, yaml.YAMLError, *MALFORMED) as error:
        raise DataError(f"{path}: not a clip's description ({shown(error)})") from error
    except M2aError as error:
        raise DataError(f"{path}: {error}") from error


def save_clip(
    folder: Path,
    frame_rate: float,
    camera: GroundCamera,
    poses: Sequence[Pose],
    frames: Sequence[tuple[np.ndarray, np.ndarray, list[Sighting]]],
    about: dict[str, object],
) -> None:
    """Write a clip.

    Args:
        folder: where; made if missing.
        frame_rate: frames per second.
        camera: the camera.
        poses: the camera's pose per frame.
        frames: image uint8 [H, W, 3] RGB, truth uint8 [H, W] and sightings, per frame.
        about: what else belongs into the description: sources, licences, objects.
    """
    for part in ("frames", "truth"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    described = []
    for i, (pose, (image, truth, sightings)) in enumerate(zip(poses, frames, strict=True)):
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(folder / "frames" / f"{i:03d}.jpg"), bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        cv2.imwrite(str(folder / "truth" / f"{i:03d}.png"), truth, [cv2.IMWRITE_PNG_COMPRESSION, 9])
        described.append({"pose": _rounded(asdict(pose)), "objects": [_rounded(asdict(s)) for s in sightings]})
    data = {
        "format": FORMAT,
        **about,
        "frame_rate": frame_rate,
        "camera": _rounded(asdict(camera)),
        "frames": described,
    }
    (folder / "clip.yaml").write_text(yaml.safe_dump(data, sort_keys=False, width=120, default_flow_style=None))


def _rounded(value: object) -> object:
    """Plain lists and floats of six digits, so that the file reads well and is the same on every machine."""
    if isinstance(value, dict):
        return {key: _rounded(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(v) for v in value]
    return round(value, 6) if isinstance(value, float) else value
