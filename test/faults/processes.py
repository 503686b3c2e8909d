"""What an operating system does to a node: signals, starvation, limits, full disks, clocks, neighbours."""

# ruff: noqa: SLF001 - a node's state is looked at from inside
from __future__ import annotations

import os
import random
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rclpy
from rclpy.context import Context
from rclpy.serialization import serialize_message
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image

from m2a_ros.process.dds import local_environment
from test.faults.mutation import mutated
from test.ros.harness import ROOT, Listener, NodeProcess, Player, environment, own_domain
from test.ros.messages import image, scene
from test.tiny_bundle import write_tiny_bundle

MASK, IN, CAMERA = "/m2a/output/front/open_set_mask", "/m2a/input/front/image", "m2a: camera front"
_MAX_EXIT_S = 60.0


class _Site:
    """A node process, a camera process, and a listener."""

    def __init__(self, folder: Path, domain: int, model: Path, **parameters: Any) -> None:
        folder.mkdir(parents=True)
        self.domain, self.folder, self.model = domain, folder, model
        self.parameters = {
            "model": str(model),
            "threads": 1,
            "extrinsics": "parameters",
            "diagnostics": {"period": 0.2},
            **parameters,
        }
        self.node = NodeProcess(domain, folder, self.parameters)
        self.player, self.listener = Player(domain, folder), Listener(domain)
        self.listener.listen(MASK, Image)
        self.sent: set[int] = set()
        self.stamp = 1_000

    def answered(self, stamp: int | None = None) -> None:
        """Send a frame until it is answered."""
        self.stamp += 1
        picture = image(scene((20, 50, 60, 80)), self.stamp if stamp is None else stamp)
        self.sent.add(picture.header.stamp.sec)
        self.listener.wait_for_outputs(MASK)
        masks = self.listener.received[MASK]
        for _ in range(30):
            self.player.play(IN, [picture])
            if self.listener.spin_until(lambda: any(m.header.stamp == picture.header.stamp for m in masks), 2.0):
                return
        raise AssertionError(f"never answered; the node's log ends with {self.node.log[-600:]}")

    def close(self) -> None:
        stamps = {mask.header.stamp.sec for mask in self.listener.received[MASK]}
        self.player.close()
        self.listener.close()
        if self.node.process.poll() is None:
            self.node.process.send_signal(signal.SIGCONT)
        code = self.node.stop()
        assert code in (0, -signal.SIGKILL), f"ended with {code}: {self.node.log[-600:]}"
        assert "Traceback" not in self.node.log, self.node.log[-1500:]
        assert stamps <= self.sent, f"answers to frames that nobody sent: {stamps - self.sent}"


def stopped_and_continued(site: _Site, rng: random.Random) -> None:
    site.answered()
    site.node.process.send_signal(signal.SIGSTOP)
    time.sleep(rng.uniform(0.2, 4.0))
    site.node.process.send_signal(signal.SIGCONT)
    site.answered()


def killed_and_started_anew(site: _Site, rng: random.Random) -> None:
    if rng.random() < 0.5:
        site.answered()
    else:
        time.sleep(rng.uniform(0.0, 3.0))
    site.node.process.kill()
    site.node.process.wait()
    site.node = NodeProcess(site.domain, site.folder, site.parameters)
    site.answered()


def interrupted_at_start(site: _Site, rng: random.Random) -> None:
    time.sleep(rng.choice((0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.7, 1.0, 2.0)))
    start = time.monotonic()
    code = site.node.stop(rng.choice((signal.SIGINT, signal.SIGTERM)))
    assert code in (0, -signal.SIGINT, -signal.SIGTERM), f"code {code}: {site.node.log[-600:]}"
    assert time.monotonic() - start < _MAX_EXIT_S
    assert "Traceback" not in site.node.log
    site.node = NodeProcess(site.domain, site.folder, site.parameters)
    site.answered()


def ended_while_frames_come(site: _Site, rng: random.Random) -> None:
    site.answered()
    pictures = [image(scene(None), 5_000 + i) for i in range(40)]
    site.sent |= {p.header.stamp.sec for p in pictures}
    site.player.play(IN, pictures[:20], pause=0.01)
    code = site.node.stop(rng.choice((signal.SIGINT, signal.SIGTERM)))
    assert code == 0, f"code {code}: {site.node.log[-600:]}"


def camera_dies_and_comes_back(site: _Site, rng: random.Random) -> None:
    site.answered()
    site.player._process.kill()
    site.player._process.wait()
    site.listener.wait_for_status(CAMERA, lambda status: status["level"] == "1")
    site.player = Player(site.domain, site.folder)
    site.answered()


def stamps_jump(site: _Site, rng: random.Random) -> None:
    for stamp in rng.sample((0, -5, 1, 2_000_000_000, 2**31 - 1, int(time.time()), 900), 5):
        site.answered(stamp)


def clock_jumps(site: _Site, rng: random.Random) -> None:
    publisher = site.listener.node.create_publisher(Clock, "/clock", 1)
    for _ in range(4):
        clock = Clock()
        clock.clock.sec = rng.choice((0, 1, 1_000, 1_005, 2**31 - 1))
        publisher.publish(clock)
        site.answered()
    heard = len(site.listener.received["/diagnostics"])
    assert site.listener.spin_until(lambda: len(site.listener.received["/diagnostics"]) > heard)


def readers_come_and_go(site: _Site, rng: random.Random) -> None:
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


def starved(site: _Site, rng: random.Random) -> None:
    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2 * (os.cpu_count() or 1))]
    try:
        os.setpriority(os.PRIO_PROCESS, site.node.process.pid, 19)
        site.answered()
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()
    site.answered()


def neighbours_come_and_go(site: _Site, rng: random.Random) -> None:
    site.answered()
    for _ in range(5):
        contexts = [Context() for _ in range(10)]
        for context in contexts:
            rclpy.init(context=context, domain_id=site.domain)
            rclpy.create_node(f"n{rng.randrange(10**6)}", context=context)
        site.listener.spin_until(lambda: False, 0.2)
        for context in contexts:
            rclpy.try_shutdown(context=context)
    site.answered()


def hostile_bytes_over_dds(site: _Site, rng: random.Random) -> None:
    site.answered()
    good = serialize_message(image(scene(None), 7))
    publisher = site.listener.node.create_publisher(Image, IN, 1)
    for _ in range(150):
        # Stamps of damaged messages are whatever the damage made of them.
        publisher.publish(good[:4] + good[4:12] + mutated(good[12:], rng))
        site.listener.spin_until(lambda: True, 0.01)
    site.sent.add(7)
    site.answered()


def little_memory(folder: Path, domain: int, model: Path, rng: random.Random) -> str:
    """A start with too little address space says so; it does not die by a signal."""
    limit = rng.choice((300, 450, 600, 700, 800, 1000)) << 20
    log = folder / "limited.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "m2a_ros.node.main", "--ros-args", "-p", f"model:={model}", "-p", "threads:=1"],
            cwd=ROOT,
            env=environment(domain),
            stdout=stream,
            stderr=subprocess.STDOUT,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
        )
        try:
            code = process.wait(40)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            code = process.wait(_MAX_EXIT_S)
            assert code == 0, f"{limit >> 20} MiB: runs, but ends with {code}"
            return "runs"
    said = log.read_text(errors="replace")
    assert code >= 0, f"{limit >> 20} MiB: ended by signal {-code}: {said[-600:]}"
    assert re.search("memory", said, re.IGNORECASE), f"{limit >> 20} MiB: code {code}, no word of memory: {said[-600:]}"
    return "refused"


def full_disk(folder: Path, domain: int, model: Path, rng: random.Random) -> str:
    """Writing stops at a size (as on a full disk); the command says which file, and leaves no half of one."""
    out, limit = folder / "out", rng.choice((0, 100, 4096, 20_000))
    run = subprocess.run(
        [sys.executable, "-m", "m2a_ros.main", "predict", _a_frame(), "--model", str(model), "--out", str(out)],
        cwd=ROOT,
        env=environment(domain),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: _limit_files(limit),
    )
    assert run.returncode == 2, f"code {run.returncode}: {run.stderr[-500:]}"
    assert "Traceback" not in run.stderr, run.stderr[-800:]
    assert not list(out.glob("*.npz")) or limit > 4096, "half a file"
    return "refused"


def _limit_files(limit: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


def _a_frame() -> str:
    return str(sorted((ROOT / "config/demo/frames").iterdir())[0])


_WITH_NODE: tuple[Callable[[_Site, random.Random], None], ...] = (
    stopped_and_continued,
    killed_and_started_anew,
    interrupted_at_start,
    ended_while_frames_come,
    camera_dies_and_comes_back,
    stamps_jump,
    clock_jumps,
    readers_come_and_go,
    starved,
    neighbours_come_and_go,
    hostile_bytes_over_dds,
)
_ALONE = (little_memory, full_disk)
SCENARIOS = len(_WITH_NODE) + len(_ALONE)


@contextmanager
def site(folder: Path) -> Iterator[Callable[[random.Random, int], str]]:
    """A domain and a model; gives what runs one scenario."""
    os.environ.update(local_environment(os.environ))
    model = write_tiny_bundle(folder / "tiny", (48, 64))
    with own_domain() as domain:
        yield lambda rng, number: _case(rng, number, folder, domain, model)


def _case(rng: random.Random, number: int, folder: Path, domain: int, model: Path) -> str:
    which = number % SCENARIOS
    if which >= len(_WITH_NODE):
        alone = _ALONE[which - len(_WITH_NODE)]
        own = folder / f"case{number}"
        own.mkdir()
        return f"{alone.__name__}: {alone(own, domain, model, rng)}"
    scenario = _WITH_NODE[which]
    parameters = {"use_sim_time": True} if scenario is clock_jumps else {}
    made = _Site(folder / f"case{number}", domain, model, **parameters)
    try:
        scenario(made, rng)
    finally:
        made.close()
    return scenario.__name__
