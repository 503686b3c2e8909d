"""The records of one bag: pictures go to files, the records to a Parquet file of the bag's own."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from m2a_core.files import replaced
from m2a_core.harvest.duplicates import find_duplicates
from m2a_core.harvest.records import ObjectRecord, frame_classes, write_records
from m2a_core.harvest.sightings import Crop, ObjectSightings

CROPS_FOLDER, FRAMES_FOLDER = "crops", "frames"
_FRAME_QUALITY = 90


class Encoder(Protocol):
    """Says what an object looks like."""

    def embed(self, image: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, ...]:
        """Blocks float32 [D] of a crop uint8 [h, w, 3], RGB, and the object's mask in it, bool [h, w].

        A block is what one source says of the object; its length is its weight, the same for every crop.
        """


@dataclass(frozen=True)
class BagIdentity:
    """What the ids of a bag's records depend on.

    Attributes:
        name: of the bag.
        content: what tells the bag from others.
        model: SHA-256 of the model's graph.
    """

    name: str
    content: str
    model: str

    def record_id(self, camera: str, track: int, first_stamp_ns: int) -> str:
        """Id of a record: 16 hexadecimal digits."""
        text = "\0".join([self.content, self.model, camera, str(track), str(first_stamp_ns)])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class BagRecords:
    """Collects the records of one bag."""

    def __init__(self, folder: Path, identity: BagIdentity, encoder: Encoder) -> None:
        """Start without records.

        Args:
            folder: the harvest's.
            identity: the bag's.
            encoder: for the embeddings.
        """
        self._folder, self._identity, self._encoder = folder, identity, encoder
        self._records: list[ObjectRecord] = []

    def add(self, camera: str, seen: ObjectSightings) -> None:
        """Make a record of a track that ended; one without a picture is none."""
        if not seen.crops:
            return
        identity = self._identity.record_id(camera, seen.number, seen.first_ns)
        best, place = seen.crops[0], seen.place
        stems = [f"{CROPS_FOLDER}/{identity[:2]}/{identity}_{number}" for number in range(len(seen.crops))]
        for stem, crop in zip(stems, seen.crops, strict=True):
            _write_png(self._folder / f"{stem}.png", cv2.cvtColor(crop.image, cv2.COLOR_RGB2BGR))
            _write_png(self._folder / f"{stem}_mask.png", np.where(crop.mask, 255, 0).astype(np.uint8))
            _write_png(self._folder / f"{stem}_classes.png", crop.classes)
        x, y, z = place.position if place else (None, None, None)
        embedding, blocks = self._embedding(seen.crops)
        self._records.append(
            ObjectRecord(
                id=identity,
                bag=self._identity.name,
                camera=camera,
                track_id=seen.number,
                first_stamp_ns=seen.first_ns,
                last_stamp_ns=seen.last_ns,
                best_stamp_ns=best.stamp_ns,
                frames=seen.frames,
                score_mean=seen.score_mean,
                score_max=seen.score_max,
                area_max_px=seen.area,
                distance_min_m=place.distance if place else None,
                x=x,
                y=y,
                z=z,
                frame_id=place.frame_id if place else None,
                box=best.box,
                crop_origin=best.origin,
                crop=f"{stems[0]}.png",
                mask=f"{stems[0]}_mask.png",
                crops=tuple(f"{stem}.png" for stem in stems),
                masks=tuple(f"{stem}_mask.png" for stem in stems),
                classes=tuple(f"{stem}_classes.png" for stem in stems),
                full_mask=_run_lengths(best),
                image_height=best.size[0],
                image_width=best.size[1],
                frame=self._write_frame(identity, best),
                embedding=embedding,
                blocks=blocks,
            )
        )

    def finish(self, path: Path) -> int:
        """Merge what shows one object twice and write the bag's records by id; returns how many they are."""
        duplicates = find_duplicates(self._records)
        records = (replace(record, duplicate_of=duplicates.get(record.id)) for record in self._records)
        return write_records(path, sorted(records, key=lambda record: record.id))

    def _embedding(self, crops: list[Crop]) -> tuple[np.ndarray, tuple[int, ...]]:
        """The mean over crops, and the sizes of its blocks; every block keeps its weight."""
        blocks = list(zip(*(self._encoder.embed(crop.image, crop.mask) for crop in crops), strict=True))
        means = [unit(np.mean(block, axis=0)) * np.linalg.norm(block[0]) for block in blocks]
        return unit(np.concatenate(means)), tuple(map(len, means))

    def _write_frame(self, identity: str, best: Crop) -> str | None:
        if best.frame is None or best.frame_classes is None:
            return None
        name = f"{FRAMES_FOLDER}/{identity[:2]}/{identity}.jpg"
        bgr = cv2.cvtColor(best.frame, cv2.COLOR_RGB2BGR)
        data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _FRAME_QUALITY])[1]
        with replaced(self._folder / name) as temporary:
            temporary.write_bytes(data.tobytes())
        _write_png(self._folder / frame_classes(name), best.frame_classes)
        return name


def unit(vector: np.ndarray) -> np.ndarray:
    """A vector float [D] at length 1, float32; one of zeros stays."""
    length = float(np.linalg.norm(vector))
    scaled: np.ndarray = (vector / length if length > 0 else vector).astype(np.float32)
    return scaled


def _run_lengths(best: Crop) -> str:
    from pycocotools import mask as coco

    whole = np.zeros(best.size, np.uint8, order="F")
    (x, y), (height, width) = best.origin, best.mask.shape
    whole[y : y + height, x : x + width] = best.mask
    return str(coco.encode(whole)["counts"].decode())


def _write_png(path: Path, pixels: np.ndarray) -> None:
    with replaced(path) as temporary:
        temporary.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
