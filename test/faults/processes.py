"""What an operating system does to a node: signals, starvation, limits, full disks, clocks, neighbours."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lifecycle_msgs.msg import Transition
from rclpy.serialization import serialize_message
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image

from m2a_core.bundle.loading import DEFAULT_MODEL
from m2a_ros.process.dds import local_environment
from test.faults import limits, namespaces
from test.faults.hanging_node import FAIL, HANG
from test.faults.measured import measure
from test.faults.mutation import mutated
from test.faults.node_site import CAMERA, IN, NODE, Site, picture
from test.ros.harness import own_domain
from test.tiny_bundle import write_tiny_bundle

_MAX_EXIT_S = 30.0
ENDING = (signal.SIGINT, signal.SIGTERM)


def stopped_and_continued(site: Site, rng: random.Random) -> None:
    site.answered()
    site.node.process.send_signal(signal.SIGSTOP)
    time.sleep(rng.uniform(0.2, 4.0))
    site.node.process.send_signal(signal.SIGCONT)
    site.answered()


def killed_in_every_phase(site: Site, rng: random.Random) -> None:
    """SIGKILL while it imports, configures, waits, works, stops; the next one answers all the same."""
    for phase in ("starting", "configured", "active", "working", "inactive", "cleaned up", "ending"):
        if phase == "starting":
            time.sleep(rng.uniform(0.0, 1.5))
        elif phase in ("configured", "active"):
            site.wait_for_log(f"{phase}: ")
            time.sleep(rng.choice((0.0, 0.0, 0.01, 0.1)))
        else:
            site.answered()
        if phase == "working":
            site.send(3, pause=0.0)
        if phase in ("inactive", "cleaned up"):
            site.change(Transition.TRANSITION_DEACTIVATE)
        if phase == "cleaned up":
            site.ask(Transition.TRANSITION_CLEANUP)
            time.sleep(rng.uniform(0.0, 0.1))
        if phase == "ending":
            site.node.process.send_signal(rng.choice(ENDING))
            time.sleep(rng.uniform(0.0, 0.3))
        site.node.process.kill()
        site.node.process.wait()
        site.start()
    site.answered()


def interrupted_at_start(site: Site, rng: random.Random) -> None:
    for after in rng.sample((0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.7, 1.0, 2.0), 5):
        time.sleep(after)
        start = time.monotonic()
        code = site.node.stop(rng.choice(ENDING))
        # Before the first line of m2a runs, the interrupt is Python's own.
        is_pythons = "m2a_ros/" not in site.node.log
        quiet = code in (0, -signal.SIGINT, -signal.SIGTERM) and "Traceback" not in site.node.log
        assert quiet or is_pythons, f"after {after} s, code {code}: {site.node.log[-900:]}"
        assert time.monotonic() - start < _MAX_EXIT_S
        site.start()
    site.answered()


def ended_while_frames_come(site: Site, rng: random.Random) -> None:
    site.answered()
    site.send(20)
    start = time.monotonic()
    code = site.node.stop(rng.choice(ENDING))
    measure("end to the last breath under traffic", time.monotonic() - start)
    assert code == 0, f"code {code}: {site.node.log[-600:]}"


def camera_dies_and_comes_back(site: Site, rng: random.Random) -> None:
    last = site.answered()
    site.kill_camera()
    measure("dead camera to diagnostics", site.said_after(CAMERA, "stopped sending", last))
    site.new_camera()
    site.answered()


def stamps_jump(site: Site, rng: random.Random) -> None:
    for stamp in rng.sample((0, -5, 1, 2_000_000_000, 2**31 - 1, int(time.time()), 900), 5):
        site.answered(stamp)


def clock_jumps(site: Site, rng: random.Random) -> None:
    publisher = site.listener.node.create_publisher(Clock, "/clock", 1)
    for _ in range(4):
        clock = Clock()
        clock.clock.sec = rng.choice((0, 1, 1_000, 1_005, 2**31 - 1))
        publisher.publish(clock)
        site.answered()
    heard = len(site.listener.received["/diagnostics"])
    assert site.listener.spin_until(lambda: len(site.listener.received["/diagnostics"]) > heard)


def readers_come_and_go(site: Site, rng: random.Random) -> None:
    topics = [f"/m2a/output/front/{name}" for name in ("anomaly_map", "panoptic", "unknown_instances")]
    for _ in range(6):
        readers = [
            site.listener.node.create_subscription(Image, topic, lambda message: None, rng.choice((1, 10)))
            for topic in topics
            for _ in range(rng.randrange(1, 8))
        ]
        site.answered()
        for reader in readers:
            site.listener.node.destroy_subscription(reader)
    site.answered()


def starved(site: Site, rng: random.Random) -> None:
    site.answered()
    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2 * (os.cpu_count() or 1))]
    try:
        os.setpriority(os.PRIO_PROCESS, site.node.process.pid, 19)
        site.answered()
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()
    site.answered()


def memory_runs_out(site: Site, rng: random.Random) -> None:
    """A working node may map no more: large frames cost themselves, and small ones go on."""
    site.answered()
    pid = site.node.process.pid
    mapped = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
    resource.prlimit(pid, resource.RLIMIT_AS, (mapped + (rng.choice((0, 4, 16, 64)) << 20), resource.RLIM_INFINITY))
    site.answered()
    large = Image(header=picture(1).header, height=2160, width=3840, encoding="rgb8", step=3 * 3840)
    large.data.frombytes(bytes(large.height * large.step))
    site.unread.add(1)
    site.player.play(IN, [large] * 3, 0.2)
    site.answered()
    resource.prlimit(pid, resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    site.answered()


def log_disk_is_full(site: Site, rng: random.Random) -> None:
    """Logs go to a full disk; diagnostics say so, and frames are answered."""
    site.node.stop()
    with limits.small_disk(site.folder / "disk") as disk:
        site.start(ROS_LOG_DIR=str(disk))
        site.answered()
        site.listener.wait_for_status(NODE, lambda status: status["level"] == "0")
        start = time.monotonic()
        limits.fill(disk)
        measure("full disk to diagnostics", site.said_after(NODE, "free on this disk", start))
        site.answered()
        assert site.node.stop() == 0, site.node.log[-600:]
    site.start()
    site.answered()


def hostile_bytes_over_dds(site: Site, rng: random.Random) -> None:
    site.answered()
    good = serialize_message(picture(7))
    site.unread.add(7)
    publisher = site.listener.node.create_publisher(Image, IN, 1)
    for _ in range(150):
        # The stamp stays whole, so that what is answered can be told.
        publisher.publish(good[:12] + mutated(good[12:], rng))
        site.listener.spin_until(lambda: True, 0.01)
    site.answered()


def network_hangs(site: Site, rng: random.Random) -> None:
    """Diagnostics say so, and every way to stop the node works at once."""
    order = site.folder / "order"
    site.answered()
    how = rng.choice(("deactivate", "cleanup", "shutdown", *ENDING))
    order.write_text(HANG)
    start = time.monotonic()
    site.send(1)
    measure("stalled network to diagnostics", site.said_after(NODE, "stalled", start))
    start = time.monotonic()
    if how in ENDING:
        assert site.node.stop(how) == 0, site.node.log[-600:]
    elif how == "shutdown":
        site.change(Transition.TRANSITION_ACTIVE_SHUTDOWN)
    else:
        site.change(Transition.TRANSITION_DEACTIVATE)
        if how == "cleanup":
            site.change(Transition.TRANSITION_CLEANUP)
    measure("end, deactivation or shutdown while the network hangs", time.monotonic() - start)
    order.unlink()
    if how == "deactivate":
        site.change(Transition.TRANSITION_ACTIVATE)
        site.answered()


def network_hangs_and_is_loaded_anew(site: Site, rng: random.Random) -> None:
    order = site.folder / "order"
    site.answered()
    order.write_text(HANG)
    site.send(1)
    site.wait_for_log("given up")
    order.unlink()
    site.answered()


def network_fails(site: Site, rng: random.Random) -> None:
    order = site.folder / "order"
    site.answered()
    order.write_text(FAIL)
    start = time.monotonic()
    site.send(3)
    measure("failing network to diagnostics", site.said_after(CAMERA, "frames failed", start))
    order.unlink()
    site.answered()


def network_is_killed(site: Site, rng: random.Random) -> None:
    """The network's own process dies while it waits, and again while it works; another one goes on."""
    for frames in (0, 3):
        site.answered()
        pid = int(site.listener.wait_for_status(NODE, lambda status: "network_pid" in status)["network_pid"])
        start = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        if frames:
            site.send(frames, pause=0.0)
        measure("SIGKILL of the network's process to the next map", site.answered() - start)
        site.listener.wait_for_status(NODE, lambda status, old=pid: status.get("network_pid") not in (None, str(old)))


def starts_with_the_shipped_model(site: Site, rng: random.Random) -> None:
    """A restart of what ships: frames come already when the process starts."""
    site.answered()
    site.node.stop()
    masks = site.listener.received[MASK_TOPIC]
    masks.clear()
    start = time.monotonic()
    site.start()
    while not masks:
        site.send(1, pause=0.0)
        site.listener.spin_until(lambda: masks, 0.1)
        assert time.monotonic() - start < 120.0, site.node.log[-600:]
    measure("start of the process to the first map, shipped model", time.monotonic() - start)
    site.unread |= site.sent


@dataclass(frozen=True)
class _Scenario:
    run: Callable[[Site, random.Random], None]
    module: tuple[str, ...] = ("m2a_ros.node.main",)
    parameters: dict[str, Any] = field(default_factory=dict)


MASK_TOPIC = "/m2a/output/front/open_set_mask"
_HANGING = ("test.faults.hanging_node", "{folder}/order")
_SCENARIOS = (
    _Scenario(stopped_and_continued),
    _Scenario(killed_in_every_phase),
    _Scenario(interrupted_at_start),
    _Scenario(ended_while_frames_come),
    _Scenario(camera_dies_and_comes_back),
    _Scenario(stamps_jump),
    _Scenario(clock_jumps, parameters={"use_sim_time": True}),
    _Scenario(readers_come_and_go),
    _Scenario(starved),
    _Scenario(memory_runs_out),
    _Scenario(log_disk_is_full),
    _Scenario(hostile_bytes_over_dds),
    _Scenario(network_hangs, _HANGING, {"watchdog.restart": False}),
    _Scenario(network_hangs_and_is_loaded_anew, _HANGING, {"watchdog.timeout": 0.3}),
    _Scenario(network_fails, _HANGING),
    _Scenario(network_is_killed, parameters={"watchdog.isolate": True}),
    _Scenario(starts_with_the_shipped_model, parameters={"model": DEFAULT_MODEL, "threads": 0}),
)
_ALONE: tuple[Callable[[Path, int, Path, random.Random], str], ...] = (
    limits.little_memory,
    limits.files_of_limited_size,
    limits.full_disk,
    limits.read_only_disk,
    namespaces.participants_come_and_go,
)
SCENARIOS = len(_SCENARIOS) + len(_ALONE)
FULL_DISK = len(_SCENARIOS) + _ALONE.index(limits.files_of_limited_size)


@contextmanager
def site(folder: Path) -> Iterator[Callable[[random.Random, int], str]]:
    """A domain and a model; gives what runs one scenario."""
    os.environ.update(local_environment(os.environ))
    model = write_tiny_bundle(folder / "tiny", (48, 64))
    with own_domain() as domain:
        yield lambda rng, number: _case(rng, number, folder, domain, model)


def _case(rng: random.Random, number: int, folder: Path, domain: int, model: Path) -> str:
    which, own = number % SCENARIOS, folder / f"case{number}"
    if which >= len(_SCENARIOS):
        alone = _ALONE[which - len(_SCENARIOS)]
        own.mkdir()
        try:
            return f"{alone.__name__}: {alone(own, domain, model, rng)}"
        except limits.NotPossible as error:
            return f"skipped: {alone.__name__}, {error}"
    scenario = _SCENARIOS[which]
    module = tuple(part.format(folder=own) for part in scenario.module)
    parameters = {"model": str(model), **scenario.parameters}
    made = Site(own, domain, parameters, module)
    try:
        scenario.run(made, rng)
    except limits.NotPossible as error:
        return f"skipped: {scenario.run.__name__}, {error}"
    finally:
        made.close()
    return scenario.run.__name__
