"""The threads that do the work, so that the executor stays free for messages, services and timers.

With an accelerator, four stages overlap: while it works on frame n, the processor prepares n+1, answers n-1 and
publishes n-2, for publishing large maps takes longer than answering. On a processor that also runs the network,
overlapping stages would only take cores from each other: one thread does all.

Every hand-over is bounded: a camera has at most one frame in it, so that frames are never queued. Frames of one camera
leave in the order in which they came.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Generic, Protocol, TypeVar

from m2a_core.errors import InferenceError
from m2a_ros.camera.frame_slot import ReceivedImage, Slots
from m2a_ros.process.executor import lacks_memory

STOP_S = 1.0
"""How long ``Stages.stop`` waits for frames in work."""
_PAUSE_S = 0.05


class Job(Protocol):
    """A frame on its way through the stages."""

    @property
    def image(self) -> ReceivedImage:
        """The message that it came with."""
        ...

    @property
    def image_count(self) -> int:
        """How many images it has for the network."""
        ...


AnyJob = TypeVar("AnyJob", bound=Job)
_Value = TypeVar("_Value")


class Steps(Protocol[AnyJob]):
    """What is done with frames; each step is called by one thread at a time."""

    def prepare(self, image: ReceivedImage) -> AnyJob | None:
        """Make a frame ready for the network; None where it is dropped, which the step has counted."""
        ...

    def infer(self, jobs: Sequence[AnyJob]) -> Sequence[AnyJob]:
        """Run the network on frames of different cameras; returns those that have an answer."""
        ...

    def finish(self, job: AnyJob) -> AnyJob | None:
        """Make the answer of it; None where nothing is to be published."""
        ...

    def publish(self, job: AnyJob) -> None:
        """Publish the answer."""
        ...

    def crashed(self, image: ReceivedImage, trace: str) -> None:
        """Told of a frame that a step failed on by a defect of ours or for want of memory."""
        ...


class HandOver(Generic[AnyJob]):
    """Jobs on their way from one stage to the next: at most one of each camera."""

    def __init__(self, on_room: Callable[[], None] = lambda: None) -> None:
        """Start empty; ``on_room`` is called whenever jobs were taken."""
        self._units: deque[list[AnyJob]] = deque()
        self._cameras: set[str] = set()
        self._condition = threading.Condition()
        self._closed = False
        self._on_room = on_room

    def holds(self, camera: str) -> bool:
        """Whether a job of the camera waits."""
        return camera in self._cameras

    def put(self, jobs: list[AnyJob]) -> None:
        """Hand jobs over that belong together; waits while one of their cameras has a job waiting."""
        cameras = {job.image.camera for job in jobs}
        with self._condition:
            self._condition.wait_for(lambda: self._closed or not cameras & self._cameras)
            if self._closed:
                return
            self._units.append(jobs)
            self._cameras |= cameras
            self._condition.notify_all()

    def take(self, limit: int) -> list[AnyJob]:
        """Wait for jobs: those that belong together, and more up to ``limit`` images. Empty once closed."""
        with self._condition:
            self._condition.wait_for(lambda: self._closed or self._units)
            if self._closed:
                return []
            jobs = self._units.popleft()
            while self._units and _images(jobs) + _images(self._units[0]) <= limit:
                jobs = jobs + self._units.popleft()
            self._cameras -= {job.image.camera for job in jobs}
            self._condition.notify_all()
        self._on_room()
        return jobs

    def close(self) -> None:
        """Drop what waits and release both stages."""
        with self._condition:
            self._closed = True
            self._units.clear()
            self._condition.notify_all()


class Stages(Generic[AnyJob]):
    """Takes frames out of the slots and processes them."""

    def __init__(self, slots: Slots, steps: Steps[AnyJob], max_batch: int, overlap: bool) -> None:
        """Start the threads.

        Args:
            slots: where frames come from.
            steps: what is done with them.
            max_batch: images that the network takes at once.
            overlap: whether stages run beside each other.
        """
        self._slots = slots
        self._steps = steps
        self._max_batch = max_batch
        self._prepared = HandOver[AnyJob](slots.wake)
        self._inferred = HandOver[AnyJob]()
        self._finished = HandOver[AnyJob]()
        self._closed = False
        self._busy: dict[str, float] = {}
        runs = {"all": self._all}
        if overlap:
            runs = {
                "prepare": self._prepare,
                "infer": self._infer,
                "finish": self._finish,
                "publish": self._publish,
            }
        self._threads = {
            name: threading.Thread(target=self._keep_running, args=(run,), name=f"m2a_{name}", daemon=True)
            for name, run in runs.items()
        }
        for thread in self._threads.values():
            thread.start()

    def stop(self, wait_s: float = STOP_S) -> list[str]:
        """Drop what waits, and wait for frames in work, at most ``wait_s`` seconds.

        Returns:
            The stages that did not end in time; nothing of theirs is published any more.
        """
        self._closed = True
        self._slots.close()
        for hand_over in (self._prepared, self._inferred, self._finished):
            hand_over.close()
        deadline = time.monotonic() + wait_s
        for thread in self._threads.values():
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))
        return [name for name, thread in self._threads.items() if thread.is_alive()]

    def require_end(self) -> None:
        """Wait once more for stages that did not end when they were stopped.

        Raises:
            InferenceError: one is still at work.
        """
        if hanging := self.stop():
            raise InferenceError(
                f"stage {', '.join(hanging)} of before is still at work on its frame: the back end hangs; configure "
                "again, which loads the model anew"
            )

    def stalled_s(self) -> float:
        """How long the step that has run longest is running, seconds; 0 where none is."""
        started = min(list(self._busy.values()), default=None)
        return 0.0 if started is None else time.monotonic() - started

    def _keep_running(self, run: Callable[[], None]) -> None:
        """Where memory runs out, so may it for the report of that: the stage goes on all the same."""
        while not self._closed:
            try:
                run()
            except MemoryError:
                time.sleep(_PAUSE_S)

    def _all(self) -> None:
        while images := self._slots.take():
            for image in images:
                for job in self._guarded_infer(self._guarded_prepare([image])):
                    if (answer := self._guarded_finish(job)) is not None:
                        self._guarded_publish(answer)

    def _prepare(self) -> None:
        while images := self._slots.take(self._prepared.holds):
            if jobs := self._guarded_prepare(images):
                self._prepared.put(jobs)

    def _infer(self) -> None:
        while jobs := self._prepared.take(self._max_batch):
            if answered := self._guarded_infer(jobs):
                self._inferred.put(answered)

    def _finish(self) -> None:
        while jobs := self._inferred.take(1):
            for job in jobs:
                if (answer := self._guarded_finish(job)) is not None:
                    self._finished.put([answer])

    def _publish(self) -> None:
        while jobs := self._finished.take(1):
            for job in jobs:
                self._guarded_publish(job)

    def _guarded_prepare(self, images: Sequence[ReceivedImage]) -> list[AnyJob]:
        jobs = []
        for image in images:
            job = self._guard("prepare", [image], partial(self._steps.prepare, image))
            if job is not None:
                jobs.append(job)
        return jobs

    def _guarded_infer(self, jobs: list[AnyJob]) -> list[AnyJob]:
        if not jobs or self._closed:
            return []
        return list(self._guard("infer", [job.image for job in jobs], partial(self._steps.infer, jobs)) or [])

    def _guarded_finish(self, job: AnyJob) -> AnyJob | None:
        # A network that came back after the node was told to stop: its answer is no longer wanted.
        return None if self._closed else self._guard("finish", [job.image], partial(self._steps.finish, job))

    def _guarded_publish(self, job: AnyJob) -> None:
        if not self._closed:
            self._guard("publish", [job.image], partial(self._steps.publish, job))

    def _guard(self, stage: str, images: Sequence[ReceivedImage], step: Callable[[], _Value]) -> _Value | None:
        """Run a step; a defect costs its frames, and is reported in full: a silent end of the thread would hide it."""
        self._busy[stage] = time.monotonic()
        try:
            return step()
        except Exception as error:  # noqa: BLE001
            if not self._closed:
                told = f"not enough memory ({error})" if lacks_memory(error) else traceback.format_exc()
                for image in images:
                    self._steps.crashed(image, told)
            return None
        finally:
            self._busy.pop(stage, None)


def _images(jobs: Sequence[Job]) -> int:
    return sum(job.image_count for job in jobs)
