"""The values of the node's parameters: checked, valid together, in one frozen record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from m2a_core.bundle.manifest import Thresholds
from m2a_core.bundle.signing import Trust
from m2a_core.errors import ConfigError, shown
from m2a_core.geometry.projection import Mounting
from m2a_core.stream.config import StreamConfig
from m2a_core.tracking.tracker import TrackerConfig
from m2a_ros.parameters.camera_settings import BatchConfig, CameraSettings, parse_resolution
from m2a_ros.parameters.declarations import (
    MODELS_OWN,
    MOUNTING_MEANINGS,
    NO_FALLBACK,
    SUPPRESS,
    THRESHOLD_PARAMETERS,
    TOPIC_TOKEN,
    all_parameters,
)


@dataclass(frozen=True)
class Settings:
    """The parameters' values, valid together.

    Attributes:
        model: name or path of the model bundle.
        trust: whose bundles are loaded.
        backend: what runs the network.
        fallback_backend: what does where ``backend`` cannot; empty for nothing.
        device: index of the GPU.
        threads: CPU threads, or None for the back end's choice.
        classes: class names the model must have, or () for any.
        cameras: names of the cameras.
        camera: how each camera is read.
        max_image_pixels: of a compressed image.
        batch: which frames are processed together.
        overlay_width: pixels, 0 for the image's own.
        overlay_quality: of the JPEG, 1..100.
        horizon: whether to look a second time at the road's far end.
        rectified_cameras: cameras whose images are rectified.
        base_frame: frame of the markers.
        ground_z: metres, height of the ground in ``base_frame``.
        extrinsics: ``auto``, ``tf`` or ``parameters``.
        depth_tolerance: seconds.
        marker_distance: metres.
        marker_region: ``scene`` or ``road``.
        marker_lifetime: seconds, 0 for ever.
        tracking: when an unknown instance is confirmed and lost.
        low_threshold: refined score down to which an object that was seen before is held.
        thresholds: values that replace the model's own, by name.
        mounting: where each camera sits.
        isolate: whether the network runs in a process of its own.
        suppress_degraded: whether nothing is published of an image that shows nothing or little of the scene.
    """

    model: str
    trust: Trust
    backend: str
    fallback_backend: str
    device: int
    threads: int | None
    classes: tuple[str, ...]
    cameras: tuple[str, ...]
    camera: dict[str, CameraSettings]
    max_image_pixels: int
    batch: BatchConfig
    overlay_width: int
    overlay_quality: int
    horizon: bool
    rectified_cameras: tuple[str, ...]
    base_frame: str
    ground_z: float
    extrinsics: str
    depth_tolerance: float
    marker_distance: float
    marker_region: str
    marker_lifetime: float
    tracking: TrackerConfig
    low_threshold: float
    thresholds: dict[str, float]
    mounting: dict[str, Mounting]
    isolate: bool
    suppress_degraded: bool

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Settings:
        """Read the values of all parameters.

        Raises:
            ConfigError: a value that no range can catch is wrong.
        """
        cameras = check_cameras(values["cameras"])
        for spec in all_parameters(cameras):
            value = values[spec.name]
            if spec.required and not value:
                raise ConfigError(f"parameter '{spec.name}' is empty, expected {spec.expected}: {spec.description}")
            if not spec.allows(value):
                raise ConfigError(
                    f"parameter '{spec.name}' is {shown(value)}, expected {spec.expected}: {spec.description}"
                )
        thresholds = {
            spec.name.removeprefix("thresholds."): values[spec.name]
            for spec in THRESHOLD_PARAMETERS
            if values[spec.name] != MODELS_OWN
        }
        camera = {name: CameraSettings.from_values(name, values) for name in cameras}
        parse_resolution(values["output.resolution"], "output.resolution")
        for name in cameras:
            parse_resolution(camera[name].resolution, f"camera.{name}.resolution")
        anchor = (*_known_cameras("batch.anchor", [values["batch.anchor"]], cameras), "")[0]
        rectified = _known_cameras("rectified_cameras", values["rectified_cameras"], cameras)
        if twice := [name for name in rectified if camera[name].rectify]:
            raise ConfigError(f"'rectified_cameras' names {twice}, whose 'camera.NAME.rectify' is true: correct either")
        return cls(
            model=values["model"],
            trust=Trust(values["require_signature"], tuple(Path(key) for key in values["trusted_keys"] if key)),
            backend=values["backend"],
            fallback_backend=values["fallback_backend"].removeprefix(NO_FALLBACK),
            device=values["device"],
            threads=values["threads"] or None,
            classes=tuple(name for name in values["classes"] if name),
            cameras=cameras,
            camera=camera,
            max_image_pixels=values["max_image_pixels"],
            batch=BatchConfig(anchor, values["batch.max_spread"], values["batch.wait"]),
            overlay_width=values["overlay.max_width"],
            overlay_quality=values["overlay.jpeg_quality"],
            horizon=values["horizon.window"],
            rectified_cameras=rectified,
            base_frame=values["base_frame"],
            ground_z=values["ground_z"],
            extrinsics=values["extrinsics"],
            depth_tolerance=values["depth_tolerance"],
            marker_distance=values["markers.max_distance"],
            marker_region=values["markers.region"],
            marker_lifetime=values["markers.lifetime"],
            tracking=TrackerConfig(
                values["tracking.min_hits"], values["temporal.min_low_hits"], values["tracking.max_age"]
            ),
            low_threshold=values["temporal.low_threshold"],
            thresholds=thresholds,
            mounting={
                camera: Mounting(**{name: values[f"mounting.{camera}.{name}"] for name in MOUNTING_MEANINGS})
                for camera in cameras
            },
            isolate=values["watchdog.isolate"],
            suppress_degraded=values["degraded.policy"] == SUPPRESS,
        )

    def stream(self, camera: str) -> StreamConfig:
        """How one camera's frames are processed."""
        own = self.camera[camera]
        return StreamConfig(
            rectify=own.rectify,
            rectified=camera in self.rectified_cameras,
            crop=own.crop,
            crop_center=own.crop_center,
            mounting=self.mounting[camera],
            ground_z=self.ground_z,
            max_distance=self.marker_distance,
            resolution=parse_resolution(own.resolution, f"camera.{camera}.resolution"),
            depth_tolerance=self.depth_tolerance,
            tracking=self.tracking,
        )

    def apply_thresholds(self, own: Thresholds) -> Thresholds:
        """The model's thresholds with those replaced that the parameters set.

        Raises:
            ConfigError: a value is outside its range, or instances would not reach as far as their own seeds.
        """
        used = replace(own, **self.thresholds)
        if self.thresholds.keys() & {"extent", "refined"} and used.extent > used.refined:
            raise ConfigError(
                f"parameter 'thresholds.extent' is {used.extent} and 'thresholds.refined' is {used.refined}: an "
                "instance must reach down to a score no higher than its seed's; lower the first or raise the second"
            )
        return used


def _known_cameras(parameter: str, names: Iterable[str], cameras: tuple[str, ...]) -> tuple[str, ...]:
    """The names but the empty one, each of which must be a camera's."""
    given = tuple(name for name in names if name)
    if strange := [name for name in given if name not in cameras]:
        raise ConfigError(f"parameter '{parameter}' names {strange}, but 'cameras' is {list(cameras)}; correct either")
    return given


def check_cameras(cameras: Iterable[str]) -> tuple[str, ...]:
    """Check the names of the cameras.

    Raises:
        ConfigError: there is none, one repeats, or one cannot be a part of a topic name.
    """
    names = tuple(cameras)
    bad = [name for name in names if not (isinstance(name, str) and TOPIC_TOKEN.fullmatch(name))]
    if not names or bad or len(set(names)) != len(names):
        raise ConfigError(
            f"parameter 'cameras' is {list(names)}; expected at least one name, all different, of letters, digits and "
            "underscores and not starting with a digit"
        )
    return names
