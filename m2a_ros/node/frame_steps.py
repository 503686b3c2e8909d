"""The steps of the stages, for the frames of all cameras."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from m2a_core.errors import InferenceError, RestartNeededError
from m2a_ros.camera.frame_slot import ReceivedImage
from m2a_ros.camera.subscriptions import CameraInput
from m2a_ros.node.pipeline import CameraPipeline, FrameJob, ProcessingConfig


class FrameSteps:
    """Hands each frame to its camera's pipeline, and frames of several cameras to the network together."""

    def __init__(
        self,
        pipelines: Mapping[str, CameraPipeline],
        inputs: Mapping[str, CameraInput],
        config: Callable[[], ProcessingConfig | None],
        on_crash: Callable[[ReceivedImage, str], None],
        on_lost: Callable[[RestartNeededError], None],
    ) -> None:
        """Set up.

        Args:
            pipelines: by camera.
            inputs: by camera.
            config: gives what frames are processed by now; None only where no stage is at work.
            on_crash: told of a frame that failed by a defect of ours, with the traceback.
            on_lost: told that only a new process can go on.
        """
        self._pipelines, self._inputs = dict(pipelines), dict(inputs)
        self._processing = config
        self._on_crash = on_crash
        self._on_lost = on_lost

    def prepare(self, image: ReceivedImage) -> FrameJob | None:
        """See ``Steps.prepare``."""
        config = self._processing()
        assert config is not None
        return self._pipelines[image.camera].prepare(image, config, self._inputs[image.camera])

    def infer(self, jobs: Sequence[FrameJob]) -> Sequence[FrameJob]:
        """See ``Steps.infer``; where a batch fails, each of its frames is tried alone."""

        def look() -> None:
            for job in jobs:
                _ = job.prepared.degraded

        try:
            jobs[0].config.perception.run([job.task for job in jobs], meanwhile=look)
        except RestartNeededError as error:
            for job in jobs:
                self._pipelines[job.image.camera].fail(job, error)
            self._on_lost(error)
            return []
        except InferenceError as error:
            if len(jobs) > 1:
                return [answered for job in jobs for answered in self.infer([job])]
            self._pipelines[jobs[0].image.camera].fail(jobs[0], error)
            return []
        return jobs

    def finish(self, job: FrameJob) -> FrameJob | None:
        """See ``Steps.finish``."""
        return self._pipelines[job.image.camera].finish(job)

    def publish(self, job: FrameJob) -> None:
        """See ``Steps.publish``."""
        self._pipelines[job.image.camera].publish(job)

    def crashed(self, image: ReceivedImage, trace: str) -> None:
        """See ``Steps.crashed``."""
        self._on_crash(image, trace)
