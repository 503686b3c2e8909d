"""Every image of a bag through the model, in order, as fast as it goes: reading, inference and writing overlap."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from m2a_core.errors import InferenceError
from m2a_core.perception import Perception
from m2a_core.types import Frame
from m2a_ros.output_spec import MAPS
from m2a_ros.replay.cameras import CameraTopic
from m2a_ros.replay.frames import Ahead, Loaded, Problem, load_frames
from m2a_ros.replay.part import PartWriter, finished_parts, read_info
from m2a_ros.replay.reader import Bag

PART_MESSAGES = 50
"""Messages in a part: what a kill costs at most."""

INFERENCE_ERROR = "inference_error"
_WANTED = frozenset(spec.output for spec in MAPS)
_READ_AHEAD = 4
_UNWRITTEN = 2


def replay_bag(
    bag: Bag,
    cameras: Sequence[CameraTopic],
    perception: Perception,
    folder: Path,
    progress: Callable[[int], object],
    part_messages: int = PART_MESSAGES,
) -> None:
    """Evaluate a bag, part after part; goes on behind the parts that are finished.

    Args:
        bag: the bag.
        cameras: its topics to evaluate.
        perception: the model.
        folder: where the parts go.
        progress: told how many messages were done since the last call.
        part_messages: messages in a part.

    Raises:
        DataError: the bag is damaged or cut short; parts finished before stay.
        OSError: a part cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    done = [read_info(part) for part in finished_parts(folder)]
    skip = sum(info.messages for info in done)
    progress(skip)
    if done and done[-1].last:
        return
    number, finished = len(done), False
    labels, threshold = perception.labels, perception.manifest.thresholds.anomaly
    with Ahead(load_frames(bag, cameras, skip), _READ_AHEAD) as items:
        while not finished:
            part = PartWriter(folder / f"{number:06d}", labels, threshold)
            try:
                with ThreadPoolExecutor(1, "m2a-write") as executor:
                    finished = _fill(part, items, perception, executor, progress, part_messages)
            except BaseException:
                part.abandon()
                raise
            part.finish(finished)
            number += 1


def _fill(
    part: PartWriter,
    items: Iterator[Loaded],
    perception: Perception,
    executor: ThreadPoolExecutor,
    progress: Callable[[int], object],
    limit: int,
) -> bool:
    """Put up to ``limit`` messages into a part; whether the bag ended."""
    pending: deque[Future[None]] = deque()
    finished = False
    for _ in range(limit):
        loaded = next(items, None)
        if loaded is None:
            finished = True
            break
        pending.append(_evaluate(part, loaded, perception, executor))
        while len(pending) > _UNWRITTEN:
            pending.popleft().result()
        progress(1)
    for future in pending:
        future.result()
    return finished


def _evaluate(part: PartWriter, loaded: Loaded, perception: Perception, executor: ThreadPoolExecutor) -> Future[None]:
    content = loaded.content
    if isinstance(content, Frame):
        try:
            result = perception.infer(content, _WANTED)
        except InferenceError as error:
            content = Problem(INFERENCE_ERROR, str(error))
        else:
            return executor.submit(part.add_frame, loaded, content, result)
    return executor.submit(part.add_problem, loaded, content)
