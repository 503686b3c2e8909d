"""The model a configured node works with: loaded once, its thresholds replaceable while it runs."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

from m2a_core.bundle.loading import load_bundle
from m2a_core.errors import ConfigError
from m2a_core.labels.label_set import LabelSet
from m2a_core.perception import NO_ROAD, NOT_ON_A_PROCESSOR, WHOLE_IMAGES_ONLY, Perception
from m2a_core.runtime.base import Runtime
from m2a_core.runtime.factory import create_runtime_or_fall_back, ready_s
from m2a_ros.parameters.settings import Settings

_CHILD_S = 30.0
"""What the child of an isolated network takes beside loading it."""


class LoadedModel:
    """A loaded network and the manifest it came with.

    Attributes:
        manifest: of the model.
        backend: what runs it, which is not that of the settings after a fall-back.
        is_isolated: whether it runs in a process of its own, which may be killed at any time.
        pid: of the process that it runs in.
        ended: how that process ended, if it is another one; "" while it lives.
    """

    def __init__(self, settings: Settings, warn: Callable[[str], object]) -> None:
        """Load the model; ``warn`` is told of a fall-back.

        Raises:
            ModelError: the bundle is missing, corrupt or does not match its manifest.
            ConfigError: the model has other classes than ``settings.classes``, or a setting does not fit it.
        """
        bundle = load_bundle(settings.model, settings.trust)
        self.is_isolated = settings.isolate
        self.pid = os.getpid()
        self.ended: Callable[[], str] = lambda: ""
        _check_classes(settings, bundle.manifest.labels)
        self.manifest = bundle.manifest
        settings.apply_thresholds(self.manifest.thresholds)
        self._runtime: Runtime
        if settings.isolate:
            from m2a_core.runtime.isolated import IsolatedRuntime, Order

            order = Order(
                bundle.directory,
                bundle.manifest.onnx_sha256,
                settings.trust,
                settings.backend,
                settings.fallback_backend,
                settings.threads,
                settings.device,
            )
            seconds = ready_s(settings.backend) + ready_s(settings.fallback_backend)
            isolated = IsolatedRuntime(order, seconds + _CHILD_S)
            for note in isolated.notes:
                warn(note)
            self._runtime, self.backend, self.pid = isolated, isolated.backend, isolated.pid
            self.ended = isolated.ended
            return
        self._runtime, self.backend = create_runtime_or_fall_back(
            bundle, settings.backend, settings.fallback_backend, warn, settings.threads, settings.device
        )

    def perception(self, settings: Settings) -> Perception:
        """The model with the thresholds of the settings.

        Raises:
            ConfigError: a threshold is out of range.
        """
        thresholds = settings.apply_thresholds(self.manifest.thresholds)
        return Perception(
            replace(self.manifest, thresholds=thresholds), self._runtime, settings.low_threshold, settings.horizon
        )

    def abandon(self) -> None:
        """End a network that hangs, where it has a process of its own."""
        if self.is_isolated:
            self.close()

    def after(self, before: LoadedModel) -> str:
        """What to say of a model that takes the place of the one ``before``: its bundle may be another by now."""
        own, other = self.manifest.onnx_sha256, before.manifest.onnx_sha256
        if own == other:
            return "the model was reloaded"
        return f"another model was loaded, for the bundle has changed: SHA-256 {own}, was {other}"

    def close(self) -> None:
        """Free the network."""
        self._runtime.close()


def described(model: LoadedModel) -> str:
    """What a model is, for the log."""
    return f"model '{model.manifest.name}' ({model.backend}, input {model.manifest.input_size})"


def remarks(settings: Settings, perception: Perception) -> list[str]:
    """What a model cannot do, or not well, that the settings ask of it."""
    manifest = perception.manifest
    found = {
        NO_ROAD: settings.horizon and manifest.labels.road is None,
        WHOLE_IMAGES_ONLY: settings.horizon and manifest.camera is not None,
        NOT_ON_A_PROCESSOR: manifest.camera is not None and not perception.is_accelerated,
    }
    return [f"model '{manifest.name}': {remark}" for remark, applies in found.items() if applies]


def _check_classes(settings: Settings, labels: LabelSet) -> None:
    if settings.classes and settings.classes != labels.names:
        raise ConfigError(
            f"model '{settings.model}' knows the classes {list(labels.names)}, parameter 'classes' expects "
            f"{list(settings.classes)}; name a model with these classes, or correct 'classes'"
        )
