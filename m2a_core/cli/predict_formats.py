"""The files that ``m2a predict`` writes of images, by format."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from m2a_core.data.nested import OVERLAY_ENDING
from m2a_core.errors import DataError
from m2a_core.files import replaced, result_stem
from m2a_core.labels.label_set import LabelSet
from m2a_core.types import OpenSetResult, Output

if TYPE_CHECKING:
    from m2a_core.contract.network_output import NetworkOutput
    from m2a_core.interop.coco_results import CocoResults

FORMATS = ("npz", "coco", "png", "supervision")

_JPEG_QUALITY = 92

_WRITTEN = tuple(output for output in Output if output is not Output.SCORE)
"""``score`` is ``refined`` or ``anomaly``, as the manifest says."""


def parse_formats(text: str) -> list[str]:
    """Read names separated by commas; for argparse."""
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in FORMATS:
            raise argparse.ArgumentTypeError(f"'{name}': expected some of {', '.join(FORMATS)}")
    return names


class ResultFiles(AbstractContextManager["ResultFiles"]):
    """Writes every image's files, and those of all images when the block ends, however it ends."""

    def __init__(
        self, out: Path, formats: Sequence[str], names: Mapping[Path, Path], labels: LabelSet, raw: bool
    ) -> None:
        """Prepare.

        Args:
            out: the folder.
            formats: some of ``FORMATS``.
            names: all images to come, each with its path below the folder that it was found in.
            labels: the known classes.
            raw: the network's tensors go into the .npz files, too.
        """
        self.out, self.formats, self.labels, self.raw = out, formats, labels, raw
        self.names = names
        self.coco: CocoResults | None = None
        self._ids: dict[Path, int] = {}
        if "coco" in formats and names:
            import pycocotools.mask  # noqa: F401  # missing, it must be missed before hours of work

            from m2a_core.interop.coco_json import number_images
            from m2a_core.interop.coco_results import CocoResults

            self.coco = CocoResults(out, labels)
            self._ids = dict(zip(names, number_images(list(names)), strict=True))

    def write(self, path: Path, image: np.ndarray, result: OpenSetResult, network: NetworkOutput | None) -> None:
        """Write the files of one image.

        Args:
            path: its file.
            image: uint8 [H, W, 3], RGB.
            result: all maps at its size.
            network: the network's own tensors; read with ``raw`` alone.

        Raises:
            DataError: a file cannot be written.
        """
        from m2a_core.overlay import draw_overlay
        from m2a_core.reporting.legend import with_legend

        stem = result_stem(self.names[path])
        if "npz" in self.formats:
            arrays = _arrays(result, network if self.raw else None)
            _write(self.out / f"{stem}.npz", lambda file: np.savez_compressed(file, **arrays))
        if "supervision" in self.formats:
            self._write_detections(stem, result)
        try:
            if "png" in self.formats:
                self._write_pngs(stem, result)
            if self.coco is not None:
                self.coco.add(self._ids[path], self.names[path], result)
        except OSError as error:
            raise DataError(f"{error.filename or self.out}: cannot write ({error.strerror or error})") from error
        overlay = _jpeg(with_legend(draw_overlay(image, result, self.labels), self.labels))
        _write(self.out / f"{stem}{OVERLAY_ENDING}", lambda file: file.write(overlay))

    def _write_detections(self, stem: str, result: OpenSetResult) -> None:
        from m2a_core.interop.detections import detection_arrays

        arrays: dict[str, Any] = detection_arrays(result, self.labels)
        _write(self.out / f"{stem}_detections.npz", lambda file: np.savez_compressed(file, **arrays))

    def _write_pngs(self, stem: str, result: OpenSetResult) -> None:
        from m2a_core.interop.map_pngs import write_map_png

        for output in _WRITTEN:
            colored = output in (Output.SEMANTIC, Output.OPEN_SET)
            values = getattr(result, output.value)
            write_map_png(self.out / f"{stem}_{output.value}.png", values, self.labels if colored else None)

    def __exit__(self, *exception: object) -> None:
        """Write the files of all images.

        Raises:
            DataError: one cannot be written.
        """
        if self.coco is None:
            return
        try:
            self.coco.finish()
        except OSError as error:
            raise DataError(f"{error.filename or self.out}: cannot write ({error.strerror or error})") from error


def _arrays(result: OpenSetResult, network: NetworkOutput | None) -> dict[str, Any]:
    arrays: dict[str, Any] = {output.value: getattr(result, output.value) for output in _WRITTEN}
    if result.horizon is not None:
        arrays["horizon"] = np.array(result.horizon.box, np.int32)
    if network is not None:
        arrays |= {"class_logits": network.class_logits, "mask_logits": network.mask_logits}
    return arrays


def _jpeg(image: np.ndarray) -> bytes:
    import cv2

    done, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    if not done:
        raise DataError(f"overlay of size {image.shape[:2]}: OpenCV cannot write it as JPEG")
    encoded: bytes = data.tobytes()
    return encoded


def _write(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file whole or not at all."""
    try:
        with replaced(path, alone=False) as temporary, temporary.open("wb") as file:
            write(file)
    except OSError as error:
        raise DataError(f"{path}: cannot write ({error.strerror})") from error
