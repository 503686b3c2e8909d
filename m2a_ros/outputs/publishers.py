"""One camera's outputs: each is computed, converted and published only while somebody listens to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.publisher import Publisher
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Float64, Header
from visualization_msgs.msg import MarkerArray

from m2a_core.bundle.manifest import Manifest
from m2a_core.geometry.localization import LocalizedInstance
from m2a_core.geometry.scaled_info import scaled_info
from m2a_core.openset.enlargement import Enlargement
from m2a_core.overlay import draw_overlay, draw_scores, overlay_size, shrink, shrink_scores
from m2a_core.stream.camera_stream import StreamResult
from m2a_core.types import OpenSetResult, Output
from m2a_ros.images.conversions import encode_jpeg
from m2a_ros.images.image_buffer import ImageBuffer, JpegBuffer
from m2a_ros.outputs.detections import Detection2DArray, detections_message
from m2a_ros.outputs.label_info import label_info_message
from m2a_ros.outputs.marker_fields import array_of, bytes_of, writes_what_rclpy_reads
from m2a_ros.outputs.markers import MarkerBuilder, locations_in
from m2a_ros.outputs.output_spec import MAPS, MASK, SCORE_MAP
from m2a_ros.parameters.settings import Settings
from m2a_ros.process.qos import OnMismatch, create_output_publisher
from m2a_ros.process.raw_messages import publish_raw

STAGES = ("decode", "preprocess", "network", "heads", "publish")
"""What a frame goes through, in order; each has a topic with its time."""

TIMING_TOPICS = ("processing_time_ms", "pipeline_latency_ms", "cyclic_time_ms", *(f"{stage}_ms" for stage in STAGES))


_OVERLAY_NEEDS = frozenset({Output.OPEN_SET, Output.UNKNOWN_INSTANCES})


class CameraOutputs:
    """The publishers of one camera; exist while the node is configured."""

    def __init__(
        self, node: Node, camera: str, manifest: Manifest, settings: Settings, on_mismatch: OnMismatch | None = None
    ) -> None:
        """Create the publishers and publish the latched class map.

        Args:
            node: the node to publish with.
            camera: name of the camera.
            manifest: of the model; its labels and its threshold of unknown pixels are published.
            settings: the node's parameters.
            on_mismatch: called when a reader's quality of service does not fit.

        Raises:
            ConfigError: a QoS override is impossible.
        """
        self._node = node
        self._labels = manifest.labels
        self._marker_builder = MarkerBuilder(camera, settings.base_frame, settings.marker_lifetime)
        self._on_mismatch = on_mismatch
        self._publishers: list[Publisher[Any]] = []
        info = label_info_message(manifest.labels, manifest.thresholds.anomaly)
        try:
            self._create_all(camera, type(info))
        except BaseException:
            self.destroy()
            raise
        self._label_info.publish(info)

    def _create_all(self, camera: str, info_type: type) -> None:
        output, debug = f"~/output/{camera}", f"~/debug/{camera}"
        self._maps = [(spec, self._create(Image, f"{output}/{spec.topic}")) for spec in MAPS]
        self._buffers = {spec.topic: ImageBuffer(spec.encoding) for spec in MAPS}
        self._picture, self._jpeg = ImageBuffer("rgb8"), JpegBuffer()
        self._info = self._create(CameraInfo, f"{output}/camera_info")
        self._markers = self._create(MarkerArray, f"{output}/unknown_markers")
        # The type exists only where vision_msgs is installed.
        self._detections = Detection2DArray and self._create(Detection2DArray, f"{output}/unknown_detections")
        self._overlay = self._create(Image, f"{debug}/overlay")
        self._overlay_jpeg = self._create(CompressedImage, f"{debug}/overlay/compressed")
        self._anomaly_color = self._create(Image, f"{debug}/anomaly_color")
        self._timings = {name: self._create(Float64, f"{debug}/{name}") for name in TIMING_TOPICS}
        self._label_info = self._create(info_type, f"{output}/label_info", latched=True)

    def update_classes(self, manifest: Manifest) -> None:
        """Publish the class map again: another anomaly threshold, or another model."""
        self._labels = manifest.labels
        self._label_info.publish(label_info_message(manifest.labels, manifest.thresholds.anomaly))

    def wanted(self) -> frozenset[Output]:
        """What somebody listens to now; empty when nobody listens to anything that needs the network."""
        wanted = {spec.output for spec, publisher in self._maps if _is_heard(publisher)}
        if self.wants_places() or Output.PANOPTIC in wanted:
            # Panoptic maps too carry the numbers of tracks, and tracks need the instances.
            wanted.add(Output.UNKNOWN_INSTANCES)
        if self._draws_overlay():
            wanted |= _OVERLAY_NEEDS
        if _is_heard(self._anomaly_color):
            wanted.add(Output.SCORE)
        return frozenset(wanted)

    def is_heard(self) -> bool:
        """Whether somebody listens to anything of a frame; looks no farther than the first such output."""
        maps = (publisher for _, publisher in self._maps)
        return (
            any(map(_is_heard, maps))
            or self.wants_places()
            or self._draws_overlay()
            or _is_heard(self._anomaly_color)
            or self.wants_info()
        )

    def wants_places(self) -> bool:
        """Whether somebody listens to where objects are: markers, or detections where vision_msgs is installed."""
        return _is_heard(self._markers) or (self._detections is not None and _is_heard(self._detections))

    def wants_info(self) -> bool:
        """Whether somebody listens to the calibration of the maps, for which no network is needed."""
        return _is_heard(self._info)

    def publish_info(self, header: Header, camera_info: Any, image: tuple[int, int], maps: tuple[int, int]) -> None:
        """Publish the calibration that the maps follow: rectified and scaled as they are.

        Args:
            header: the frame's.
            camera_info: of the frame's image, as the maps show it; None for none.
            image: height, width of that image.
            maps: height, width of the maps.

        Raises:
            DataError: it does not fit the image.
        """
        if camera_info is not None and self.wants_info():
            info = scaled_info(camera_info, image, maps)
            info.header = header
            self._info.publish(info)

    def publish(
        self,
        header: Header,
        result: StreamResult,
        settings: Settings,
        small: np.ndarray | None = None,
        enlargement: Enlargement | None = None,
    ) -> None:
        """Publish everything of a frame that is heard, but its calibration, with the frame's own header.

        Args:
            header: the frame's.
            result: what is known of it.
            settings: the node's parameters.
            small: the frame's image at the network's size, uint8 [h, w, 3], where there is one.
            enlargement: how maps come to the size that they are to have; None where they have it.
        """
        drawn: OpenSetResult | None = result.result
        if enlargement is None:
            self._publish_maps(header, result.result)
        else:
            mask = self._publish_enlarged(header, result.result, enlargement)
            drawn = None if mask is None else replace(result.result, open_set=mask)
        self._publish_objects(header, result, settings)
        if drawn is not None and drawn.open_set is not None:
            self._publish_overlay(header, result.frame.image, drawn, settings, small)
        self._publish_anomaly_color(header, result.result, settings, enlargement)

    def _draws_overlay(self) -> bool:
        return _is_heard(self._overlay) or _is_heard(self._overlay_jpeg)

    def clear_markers(self) -> None:
        """Delete the markers that are shown."""
        self._publish_markers(self._node.get_clock().now().to_msg(), {})

    def _publish_maps(self, header: Header, result: OpenSetResult) -> None:
        for spec, publisher in self._maps:
            computed = getattr(result, spec.output.value)
            if computed is not None and _is_heard(publisher):
                buffer = self._buffers[spec.topic]
                spec.write(computed, buffer.begin(header, computed.shape))
                publish_raw(publisher, buffer.serialized)

    def _publish_enlarged(self, header: Header, result: OpenSetResult, enlargement: Enlargement) -> np.ndarray | None:
        """Publish the maps at the image's size; gives the open-set mask where it or an overlay was heard."""
        heard = {spec.topic: publisher for spec, publisher in self._maps if _is_heard(publisher)}
        pixels = {topic: self._buffers[topic].begin(header, enlargement.size) for topic in {*heard, SCORE_MAP, MASK}}
        scores, mask = pixels[SCORE_MAP], None
        wants_mask = result.open_set is not None and (MASK in heard or self._draws_overlay())
        if result.score is not None and (SCORE_MAP in heard or (wants_mask and enlargement.mask is None)):
            enlargement.scores(result.score, scores)
        if wants_mask:
            mask = enlargement.open_set(result, scores, pixels[MASK])
        for spec, publisher in reversed(self._maps):
            small = getattr(result, spec.output.value)
            if small is None or spec.topic not in heard:
                continue
            if spec.topic not in (SCORE_MAP, MASK):
                enlargement.ids(small, pixels[spec.topic])
            elif spec.topic == SCORE_MAP and (small.min() < 0 or small.max() > 1):
                spec.write(scores, scores)
            publish_raw(publisher, self._buffers[spec.topic].serialized)
        return mask

    def _publish_objects(self, header: Header, result: StreamResult, settings: Settings) -> None:
        if result.result.unknown_instances is None:
            return
        if _is_heard(self._markers):
            located = locations_in(settings.marker_region, result.objects)
            self._publish_markers(header.stamp, located)
        if self._detections is not None and _is_heard(self._detections):
            self._detections.publish(detections_message(header, result.objects, result.pose))

    def _publish_markers(self, stamp: Any, located: Mapping[int, LocalizedInstance]) -> None:
        header, markers = self._marker_builder.header(stamp), self._marker_builder.build(located)
        if writes_what_rclpy_reads():
            publish_raw(self._markers, bytes_of(header, markers))
        else:
            self._markers.publish(array_of(header, markers))

    def _publish_overlay(
        self,
        header: Header,
        image: np.ndarray,
        result: OpenSetResult,
        settings: Settings,
        small: np.ndarray | None,
    ) -> None:
        raw, jpeg = _is_heard(self._overlay), _is_heard(self._overlay_jpeg)
        if not (raw or jpeg):
            return
        shown = shrink(image, result, settings.overlay_width, small)
        overlay = draw_overlay(*shown, self._labels)
        if raw:
            self._publish_picture(self._overlay, header, overlay)
        if jpeg:
            message = self._jpeg.filled(header, encode_jpeg(overlay, settings.overlay_quality))
            publish_raw(self._overlay_jpeg, message)

    def _publish_anomaly_color(
        self, header: Header, result: OpenSetResult, settings: Settings, enlargement: Enlargement | None
    ) -> None:
        if result.score is None or not _is_heard(self._anomaly_color):
            return
        if enlargement is None:
            scores = shrink_scores(result.score, settings.overlay_width)
        else:
            size = overlay_size(*enlargement.size, settings.overlay_width)
            scores = enlargement.to(size).scores(result.score)
        self._publish_picture(self._anomaly_color, header, draw_scores(scores))

    def _publish_picture(self, publisher: Publisher[Any], header: Header, rgb: np.ndarray) -> None:
        np.copyto(self._picture.begin(header, rgb.shape[:2]), rgb)
        publish_raw(publisher, self._picture.serialized)

    def publish_timings(self, values: dict[str, float]) -> None:
        """Publish milliseconds by name (``TIMING_TOPICS``)."""
        for name, value in values.items():
            if _is_heard(self._timings[name]):
                self._timings[name].publish(Float64(data=value))

    def destroy(self) -> None:
        """Remove the publishers."""
        for publisher in self._publishers:
            self._node.destroy_publisher(publisher)
        self._publishers.clear()

    def _create(self, kind: type, topic: str, latched: bool = False) -> Publisher[Any]:
        publisher = create_output_publisher(self._node, kind, topic, latched, self._on_mismatch)
        self._publishers.append(publisher)
        return publisher


def _is_heard(publisher: Publisher[Any]) -> bool:
    return publisher.get_subscription_count() > 0
