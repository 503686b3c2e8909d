"""Real processes over real DDS: the node, a player, and this process as the listener."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import rclpy
import yaml
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message

from m2a_ros.process.dds import local_environment

ROOT = Path(__file__).resolve().parents[2]
# Discovery alone takes up to 3 s; a loaded machine takes a multiple.
PATIENCE_S = 60.0


def python_path() -> str:
    """The project first, then where this process finds packages that are not installed, such as a distribution's."""
    return os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])


def environment(domain: int) -> dict[str, str]:
    return {
        **os.environ,
        **local_environment({}),
        "ROS_DOMAIN_ID": str(domain),
        "PYTHONPATH": python_path(),
        "OMP_NUM_THREADS": "2",
    }


@contextmanager
def own_domain() -> Iterator[int]:
    """A ROS domain nobody else on this machine tests in; ids above 101 collide with ephemeral ports."""
    for domain in [(os.getpid() + i) % 100 + 1 for i in range(100)]:
        with (Path(tempfile.gettempdir()) / f"m2a_test_domain_{domain}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue
            yield domain
            return
    raise RuntimeError("all 100 ROS domains are in use")


class Player:
    """Publishes from another process."""

    def __init__(self, domain: int, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        self._process = subprocess.Popen(
            [sys.executable, "-m", "test.ros.player"],
            cwd=ROOT,
            env=environment(domain),
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def play(self, topic: str, messages: list[Any], pause: float = 0.0) -> None:
        """Publish messages one after another, once the topic has a reader."""
        files = []
        for message in messages:
            self._count += 1
            path = self._folder / f"message_{self._count}.cdr"
            path.write_bytes(serialize_message(message))
            files.append(str(path))
        package = type(messages[0]).__module__.partition(".")[0]
        kind = f"{package}/{type(messages[0]).__name__}"
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"topic": topic, "type": kind, "files": files, "pause": pause}) + "\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "done\n"

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(PATIENCE_S)


class NodeProcess:
    """The node, as ``m2a_node`` starts it, or what stands in for its module."""

    def __init__(
        self,
        domain: int,
        folder: Path,
        parameters: dict[str, Any],
        module: Sequence[str] = ("m2a_ros.node.main",),
        variables: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        params = folder / "params.yaml"
        params.write_text(yaml.safe_dump({"/**": {"ros__parameters": parameters}}))
        self._log = folder / "node.log"
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *module, "--ros-args", "--params-file", str(params)],
                cwd=ROOT,
                env={**environment(domain), **variables},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    def stop(self, how: signal.Signals = signal.SIGINT) -> int:
        """Send a signal and return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            return self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


class Listener:
    """Subscribes in this process and keeps everything that comes."""

    def __init__(self, domain: int) -> None:
        self._context = Context()
        rclpy.init(context=self._context, domain_id=domain)
        self.node = rclpy.create_node("listener", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self.received: dict[str, list[Any]] = defaultdict(list)
        self._subscriptions: dict[str, Any] = {}
        self.listen("/diagnostics", DiagnosticArray)

    def listen(self, topic: str, kind: type, latched: bool = False) -> None:
        durability = DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE
        qos = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE, durability=durability)
        self._subscriptions[topic] = self.node.create_subscription(kind, topic, self.received[topic].append, qos)

    def forget(self, topic: str) -> None:
        self.node.destroy_subscription(self._subscriptions.pop(topic))
        self.received.pop(topic)

    def spin_until(self, done: Callable[[], Any], timeout: float = PATIENCE_S) -> Any:
        """Spin until ``done()`` is true and return what it gave; None after the timeout."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if outcome := done():
                return outcome
            self._executor.spin_once(timeout_sec=0.05)
        return None

    def wait_for_outputs(self, *topics: str) -> None:
        """Wait until the node publishes on the topics and has found this listener."""
        missing = [t for t in topics if not self.spin_until(lambda t=t: self.node.count_publishers(t))]
        assert not missing, f"no publisher on {missing}"

    def status(self, name: str) -> dict[str, str]:
        """The latest diagnostics of one name as key -> value, with ``level`` and ``message``; {} before the first."""
        for array in reversed(self.received["/diagnostics"]):
            for status in array.status:
                if status.name == name:
                    level = int.from_bytes(status.level, "little")
                    values = {pair.key: pair.value for pair in status.values}
                    return {**values, "level": str(level), "message": status.message}
        return {}

    def wait_for_status(self, name: str, test: Callable[[dict[str, str]], bool]) -> dict[str, str]:
        """Wait until the status passes the test, and return it."""
        found = self.spin_until(lambda: (status := self.status(name)) and test(status) and status)
        assert found, f"diagnostics '{name}' stayed {self.status(name)}"
        return found

    def close(self) -> None:
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self._context)
