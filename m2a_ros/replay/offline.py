"""Every image of a bag through the model, in order, as fast as it goes: reading, inference and writing overlap."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from m2a_core.errors import DataError, InferenceError
from m2a_core.geometry.rectification import NotRectifiable
from m2a_core.perception import Perception
from m2a_core.stream.camera_stream import CameraStream, PreparedFrame
from m2a_core.stream.sensors import Sensors
from m2a_core.types import Frame, OpenSetResult
from m2a_ros.bag.cameras import CameraTopic
from m2a_ros.bag.frames import Loaded, Problem, load_frames
from m2a_ros.bag.reader import CAMERA_INFO, Bag, decode
from m2a_ros.outputs.output_spec import MAPS
from m2a_ros.parameters.settings import Settings
from m2a_ros.process.allocation import keep_freed_memory
from m2a_ros.replay.published_frame import published_frame
from m2a_ros.replay.recorder import BagRecorder
from m2a_ros.replay.threads import BackgroundWriter, Prefetcher

INFERENCE_ERROR, OTHER_SIZE = "inference_error", "bad_image.other_size"
NOT_RECTIFIED_PREFIX = "not_rectified."
_WANTED = frozenset(spec.output for spec in MAPS)
_READ_AHEAD = 4
_UNWRITTEN = 2


def replay_offline(
    bag: Bag,
    cameras: Sequence[CameraTopic],
    perception: Perception,
    settings: Settings,
    calibrated: bool,
    recorder: BagRecorder,
    progress: Callable[[int], object],
) -> None:
    """Evaluate what is left of a bag.

    Args:
        bag: the bag.
        cameras: its topics to evaluate.
        perception: the model.
        settings: the node's parameters.
        calibrated: whether the bag's ``camera_info`` is used; else objects are tracked in the image alone.
        recorder: where the answers go; an entered context.
        progress: told how many messages were done since the last call.

    Raises:
        DataError: the bag is damaged or cut short; chunks finished before stay.
        OSError: the answers cannot be written.
    """
    progress(recorder.done)
    if recorder.is_whole:
        return

    keep_freed_memory()
    streams = {camera.camera: CameraStream() for camera in cameras}
    configs = {camera: settings.stream(camera) for camera in streams}
    for camera, stamp_ns, detections in recorder.tracks():
        streams[camera].catch_up(stamp_ns, detections, configs[camera])

    def write(loaded: Loaded, prepared: PreparedFrame, inferred: OpenSetResult) -> None:
        result = streams[prepared.frame.camera].track(prepared, inferred, perception)
        recorder.add_frame(published_frame(loaded, result, perception.labels, settings))

    frames = load_frames(bag, cameras, recorder.done, calibrated, settings.max_image_pixels)
    with Prefetcher(frames, _READ_AHEAD) as items, BackgroundWriter(_UNWRITTEN) as writer:
        for loaded in items:
            content = loaded.content
            if isinstance(content, Frame):
                stream, config = streams[content.camera], configs[content.camera]
                try:
                    prepared = stream.prepare(content, _sensors(loaded), perception.manifest.input_size, config)
                    task = stream.begin(prepared, _WANTED, perception)
                    perception.run([task])
                    writer.call(write, loaded, prepared, stream.finish(prepared, task, perception))
                except NotRectifiable as error:
                    content = Problem(NOT_RECTIFIED_PREFIX + error.reason, str(error))
                except InferenceError as error:
                    content = Problem(INFERENCE_ERROR, str(error))
                except DataError as error:
                    content = Problem(OTHER_SIZE, str(error))
            if isinstance(content, Problem):
                writer.call(recorder.add_problem, loaded.recorded, loaded.stamp_ns, content)
            progress(1)


def _sensors(loaded: Loaded) -> Sensors:
    data = loaded.recorded.camera_info
    return Sensors(decode(data, CAMERA_INFO) if data else None)
