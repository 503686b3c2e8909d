"""Every image of a bag through the model, in order, as fast as it goes: reading, inference and writing overlap."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from m2a_core.errors import InferenceError
from m2a_core.perception import Perception
from m2a_core.types import Frame, OpenSetResult
from m2a_ros.bag.cameras import CameraTopic
from m2a_ros.bag.frames import Loaded, Problem, load_frames
from m2a_ros.bag.reader import Bag
from m2a_ros.outputs.output_spec import MAPS
from m2a_ros.process.allocation import keep_freed_memory
from m2a_ros.replay.answer import answer_of
from m2a_ros.replay.numbering import Numbering
from m2a_ros.replay.recorder import BagRecorder
from m2a_ros.replay.threads import Ahead, Behind

INFERENCE_ERROR = "inference_error"
_WANTED = frozenset(spec.output for spec in MAPS)
_READ_AHEAD = 4
_UNWRITTEN = 2


def replay_offline(
    bag: Bag,
    cameras: Sequence[CameraTopic],
    perception: Perception,
    recorder: BagRecorder,
    progress: Callable[[int], object],
) -> None:
    """Evaluate what is left of a bag.

    Args:
        bag: the bag.
        cameras: its topics to evaluate.
        perception: the model.
        recorder: where the answers go; an entered context.
        progress: told how many messages were done since the last call.

    Raises:
        DataError: the bag is damaged or cut short; parts finished before stay.
        OSError: the answers cannot be written.
    """
    progress(recorder.done)
    if recorder.is_whole:
        return

    keep_freed_memory()
    numbering = Numbering(perception.labels.unknown_id)
    for track in recorder.tracks():
        numbering.take_up(**track)

    def write(loaded: Loaded, frame: Frame, result: OpenSetResult) -> None:
        numbered = numbering.number(frame.camera, frame.stamp_ns, result)
        recorder.add_frame(answer_of(loaded, frame, result, numbered, perception.labels))

    with Ahead(load_frames(bag, cameras, recorder.done), _READ_AHEAD) as items, Behind(_UNWRITTEN) as behind:
        for loaded in items:
            content = loaded.content
            if isinstance(content, Frame):
                try:
                    behind.call(write, loaded, content, perception.infer(content, _WANTED))
                except InferenceError as error:
                    content = Problem(INFERENCE_ERROR, str(error))
            if isinstance(content, Problem):
                behind.call(recorder.add_problem, loaded.recorded, loaded.stamp_ns, content)
            progress(1)
