"""The managed node ``m2a``: life cycle and wiring; the work is done elsewhere.

configure: read parameters, load the model, create publishers. activate: subscribe to the cameras, start the worker.
deactivate and cleanup undo these. A setup that does not fit leaves the node alive and unconfigured, with the reason in
the log and in ``/diagnostics``.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import cv2
from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]
from rclpy.exceptions import InvalidHandle
from rclpy.lifecycle import LifecycleNode, LifecycleState
from rclpy.lifecycle import TransitionCallbackReturn as Result

from m2a_core.errors import M2aError, RestartNeededError
from m2a_ros.camera.batching import BatchSlots
from m2a_ros.camera.extrinsics import Extrinsics, create_extrinsics
from m2a_ros.camera.frame_slot import FrameSlots, ReceivedImage, Slots
from m2a_ros.camera.receiver import Receiver
from m2a_ros.camera.subscriptions import CameraInput
from m2a_ros.node.diagnostics import INTERNAL_ERROR
from m2a_ros.node.frame_steps import FrameSteps
from m2a_ros.node.model import LoadedModel, described, remarks
from m2a_ros.node.pipeline import CameraPipeline, FrameJob, ProcessingConfig
from m2a_ros.node.reporting import DiagnosticsReporter
from m2a_ros.node.stages import Stages
from m2a_ros.node.watchdog import Watchdog
from m2a_ros.parameters.server import ParameterServer
from m2a_ros.parameters.settings import Settings
from m2a_ros.process.statistics import CameraStatistics

NODE_NAME = "m2a"
_WATCH_S, _CALM_WATCH_S = 0.3, 1.0
"""Seconds between two looks at what stalls; the longer while all is well and nothing can become late before.
Seldom: each time that a timer comes due, the executor waits anew for everything that the node has."""


class M2aNode(LifecycleNode):
    """Open-set perception of any number of cameras.

    Attributes:
        model: what is loaded; None while unconfigured.
        config: what the next frame is processed by; None while unconfigured.
        inputs: each camera's subscriptions, while active.
        pipelines: each camera's processing, from configured on.
        statistics: each camera's counters, from configured on.
        batches: what brings frames of cameras together, while active and if the parameters say so.
        watchdog: looks after steps that hang.
        reporter: publishes diagnostics.
        problem: why the last transition was refused; "" if it was not.
        exit_code: of the process; not 0 once only a new process can go on.
    """

    def __init__(self, **options: Any) -> None:
        """Declare parameters and start diagnostics.

        Args:
            options: as for ``rclpy.lifecycle.LifecycleNode``.
        """
        super().__init__(NODE_NAME, **options)
        self.model: LoadedModel | None = None
        self._extrinsics: Extrinsics | None = None
        self.config: ProcessingConfig | None = None
        self._stages: Stages[FrameJob] | None = None
        self._wake_up = self.create_guard_condition(self._watch)
        self.watchdog = Watchdog(self.get_logger().error, self._resume, self._look_now)
        self._left: Stages[FrameJob] | None = None
        self.batches: BatchSlots | None = None
        self._receiver: Receiver | None = None
        self.pipelines: dict[str, CameraPipeline] = {}
        self.inputs: dict[str, CameraInput] = {}
        self.statistics: dict[str, CameraStatistics] = {}
        self.problem, self.exit_code = "", 0
        self._parameter_server = ParameterServer(self, lambda: self.model is not None, self._retune)
        self.reporter = DiagnosticsReporter(self)
        steady = Clock(clock_type=ClockType.STEADY_TIME)  # Diagnostics come also while simulated time stands.
        period = self._parameter_server.value("diagnostics.period")
        self._timer = self.create_timer(period, self.reporter.publish, clock=steady)
        self._watch_timer = self.create_timer(_WATCH_S, self._watch, clock=steady)

    @property
    def state(self) -> str:
        """Label of the life cycle's present state, such as active."""
        return str(self._state_machine.current_state[1])

    def start(self) -> None:
        """Configure and activate, if the parameter ``autostart`` says so and the setup fits."""
        if self._parameter_server.value("autostart") and self.trigger_configure() == Result.SUCCESS:
            self.trigger_activate()

    def on_configure(self, state: LifecycleState) -> Result:
        """Load the model and create the publishers; FAILURE, with the reason logged, when the setup does not fit."""
        return Result.SUCCESS if self._try("configure", self._configure) else Result.FAILURE

    def on_activate(self, state: LifecycleState) -> Result:
        """Subscribe to the cameras and start working; on ERROR the node falls back to unconfigured."""
        return Result.SUCCESS if self._try("activate", self._activate) else Result.ERROR

    def on_deactivate(self, state: LifecycleState) -> Result:
        """Stop working and unsubscribe; nothing is published for frames that wait."""
        self._stop()
        return Result.SUCCESS

    def on_cleanup(self, state: LifecycleState) -> Result:
        """Free the model and remove the publishers; at shutdown and after an error too, from any state."""
        self._release()
        return Result.SUCCESS

    on_shutdown = on_error = on_cleanup

    def destroy_node(self) -> None:
        """Stop the worker before ROS entities go."""
        self._release()
        super().destroy_node()
        # rclpy leaves it: the node would stay in the graph as long as anybody holds this object.
        self._state_machine.destroy_when_not_in_use()

    def _try(self, what: str, action: Callable[[], None]) -> bool:
        """Do it, or undo everything and keep the reason; rclpy would turn any exception into a silent ERROR."""
        try:
            action()
        except M2aError as error:
            reason = str(error)
        except Exception:  # noqa: BLE001 - reported in full
            reason = traceback.format_exc()
        else:
            self.problem = ""
            return True
        self.problem = f"cannot {what}: {reason}"
        self.get_logger().error(self.problem)
        self._release()
        return False

    def _configure(self) -> None:
        settings = self._parameter_server.settings()
        self.model = LoadedModel(settings, self.get_logger().error)
        self.config = ProcessingConfig(self.model.perception(settings), settings)
        self._timer.timer_period_ns = int(1e9 * self._parameter_server.value("diagnostics.period"))
        self._extrinsics = create_extrinsics(self, settings.extrinsics)
        for camera in settings.cameras:
            statistics = self.statistics[camera] = CameraStatistics()
            self.pipelines[camera] = CameraPipeline(self, camera, self.config, statistics, self._extrinsics)
        self.get_logger().info(f"configured: {described(self.model)}, cameras {list(settings.cameras)}")
        for remark in remarks(settings, self.config.perception):
            self.get_logger().warning(remark)

    def _activate(self) -> None:
        for statistics in self.statistics.values():
            statistics.reset()
        self._begin()
        self.reporter.start()

    def _begin(self) -> None:
        assert self.config is not None
        if self._left is not None:
            # Else two threads would use one network, and a frame could get the answer to another.
            self._left.require_end()
            self._left = None
        settings = self.config.settings
        slots: Slots = FrameSlots(settings.cameras)
        if settings.batch.anchor:
            slots = self.batches = BatchSlots(
                settings.cameras, settings.batch, lambda camera, reason: self.statistics[camera].dropped(reason)
            )
        receiver = self._receiver = Receiver(self)
        for camera in settings.cameras:
            transport, statistics = settings.camera[camera].transport, self.statistics[camera]
            is_heard = self.pipelines[camera].outputs.is_heard
            self.inputs[camera] = CameraInput(self, receiver, camera, transport, slots, statistics, is_heard)
        perception = self.config.perception
        give_up = partial(self._give_up, model=self.model)
        steps = FrameSteps(self.pipelines, self.inputs, lambda: self.config, self._report_crash, give_up)
        if perception.is_accelerated:
            # The stages keep the cores busy; OpenCV's own threads would only spin for each other beside them.
            cv2.setNumThreads(1)
        self._stages = Stages(slots, steps, perception.batch_sizes[-1], perception.is_accelerated)
        self.get_logger().info(f"active: reading {[camera.topic for camera in self.inputs.values()]}")

    def _stop(self) -> None:
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.stop()
        if self._stages is not None:
            if hanging := self._stages.stop():
                self._left = self._stages
                self.get_logger().error(
                    f"stage {', '.join(hanging)} did not end: the back end hangs; its work is abandoned, and "
                    "its memory is not freed while it goes on"
                )
            self._stages = None
            if self.context.ok():
                for pipeline in self.pipelines.values():
                    pipeline.reset()
        self.batches = None
        for camera in self.inputs.values():
            camera.destroy()
        self.inputs.clear()

    def _release(self) -> None:
        self.watchdog.cancel()
        self._stop()
        for pipeline in self.pipelines.values():
            pipeline.outputs.destroy()
        self.pipelines.clear()
        self.statistics.clear()
        self.config = None
        if self._extrinsics is not None:
            self._extrinsics.close()
            self._extrinsics = None
        # None first: a step that ends by the closing reports no loss of a model that works.
        model, self.model, left, self._left = self.model, None, self._left, None
        if model is not None and (model.is_isolated or left is None or not left.stop(wait_s=0.0)):
            # Else a step may still be using its memory.
            model.close()

    def _report_crash(self, image: ReceivedImage, trace: str) -> None:
        if not self.context.ok():
            return  # Publishing fails once a signal has shut ROS down; that is the end, not a defect.
        self.statistics[image.camera].dropped(INTERNAL_ERROR, trace.strip().splitlines()[-1])
        self.get_logger().error(f"camera '{image.camera}': a frame failed\n{trace}")

    def _give_up(self, error: RestartNeededError, model: LoadedModel | None) -> None:
        """End the process, for a supervisor to start a new one; or that of the network, where it has one of its own."""
        if model is not None and model.is_isolated:
            # A step of the model before may end late.
            if model is self.model:
                self.watchdog.lose(str(error))
            return
        if self.exit_code == 0:
            self.get_logger().fatal(f"ending with code {error.exit_code}: {error}")
            self.exit_code = error.exit_code
        self.context.try_shutdown()

    def _retune(self, settings: Settings) -> None:
        """Use changed live parameters from the next frame on."""
        assert self.model is not None
        self.config = ProcessingConfig(self.model.perception(settings), settings)
        for pipeline in self.pipelines.values():
            pipeline.outputs.update_classes(self.config.perception.manifest)

    def _look_around(self) -> None:
        for camera in self.inputs.values():
            camera.follow_publishers()
        if self.inputs and self._extrinsics is not None and self.config is not None:
            frames = {name: camera.frame_id for name, camera in self.inputs.items()}
            self._extrinsics.announce(frames, self.config.settings)

    def _watch(self) -> None:
        """Look for what stalls, and report what is new of it at once: the diagnostics' period may be long."""
        self._look_around()
        value, spare = self._parameter_server.value, _CALM_WATCH_S
        if self._stages is not None and self.config is not None and self.model is not None:
            load = partial(LoadedModel, self.config.settings, self.get_logger().error)
            timeout, restart = value("watchdog.timeout"), value("watchdog.restart")
            spare = min(spare, timeout - self._stages.stalled_s())
            self.watchdog.check(self._stages, timeout, restart, load, self._abandon, self.model.ended())
        is_well, until_silent = self.reporter.look()
        is_calm = is_well and all(camera.frame_id for camera in self.inputs.values())
        period = max(min(spare, until_silent) + 0.01, 0.05) if is_calm and self.inputs else _WATCH_S
        if round(1e9 * period) != self._watch_timer.timer_period_ns:
            self._watch_timer.timer_period_ns = round(1e9 * period)
            self._watch_timer.reset()

    def _look_now(self) -> None:
        """Let the executor's thread watch at once; may be called by any thread, and too late."""
        with suppress(InvalidHandle):
            self._wake_up.trigger()

    def _abandon(self) -> None:
        # Loading again may take minutes: what is shown is old by then.
        for pipeline in self.pipelines.values():
            pipeline.outputs.clear_markers()
        if self.model is not None:
            self.model.abandon()

    def _resume(self, model: LoadedModel) -> None:
        """Work with another model; the old one is left to the step that may still be using it."""
        assert self.model is not None
        told = model.after(self.model)
        self._stop()
        self._left, self.model = None, model
        if not self._try("go on", self._go_on):
            # Else it would seem active, and nobody could configure it.
            self.trigger_deactivate()
            self.trigger_cleanup()
        else:
            self.get_logger().warning(f"{told}; frames are processed again")

    def _go_on(self) -> None:
        assert self.config is not None
        self._retune(self.config.settings)
        self._begin()
