"""Fifty DDS participants of ten network namespaces (ten machines, for DDS) come and go; half of them are killed.

Needs root and iproute2. The scenario runs in a process of its own inside the first namespace.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import rclpy
from rclpy.context import Context
from sensor_msgs.msg import Image

from m2a_ros.process.dds import PROFILE_VARIABLES
from test.faults.campaign import end
from test.faults.limits import NotPossible
from test.faults.node_site import MASK, Site
from test.ros import harness

HOSTS, EACH = 10, 5
PARTICIPANTS = HOSTS * EACH
_FOUND_S, _GONE_S, _LIFE_S = 90.0, 90.0, 600.0
# Shared memory would reach through the namespaces, which share one /dev/shm.
_UDP_ONLY = """<?xml version="1.0"?>
<dds><profiles><participant profile_name="udp" is_default_profile="true"><rtps>
<useBuiltinTransports>false</useBuiltinTransports><userTransports><transport_id>udp</transport_id></userTransports>
</rtps></participant>
<transport_descriptors><transport_descriptor><transport_id>udp</transport_id><type>UDPv4</type></transport_descriptor>
</transport_descriptors></profiles></dds>
"""


def participants_come_and_go(folder: Path, domain: int, model: Path, rng: random.Random) -> str:
    """Run the scenario inside a namespace, beside ten others on one bridge."""
    with _hosts(f"m2a{os.getpid()}", HOSTS + 1) as names:
        arguments = [str(folder), str(domain), str(model), str(rng.randrange(2**32)), *names]
        run = subprocess.run(
            _inside(names[0], "test.faults.namespaces", *arguments),
            cwd=harness.ROOT,
            env=harness.environment(domain),
            capture_output=True,
            text=True,
            check=False,
        )
    assert run.returncode == 0, f"code {run.returncode}: {run.stderr.strip()[-300:]}"
    return f"{PARTICIPANTS} in {HOSTS} namespaces"


def _inside(name: str, *module: str) -> list[str]:
    return ["ip", "netns", "exec", name, sys.executable, "-m", *module]


@contextmanager
def _hosts(prefix: str, count: int) -> Iterator[list[str]]:
    """Namespaces on one bridge, or `NotPossible`."""
    if shutil.which("ip") is None:
        raise NotPossible("there is no ip (iproute2)")
    hub, names = f"{prefix}hub", [f"{prefix}n{i}" for i in range(count)]
    try:
        for name in (hub, *names):
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
        _ip("-n", hub, "link", "add", "bridge", "type", "bridge")
        _ip("-n", hub, "link", "set", "bridge", "up")
        for i, name in enumerate(names):
            _ip("-n", hub, "link", "add", f"v{i}", "type", "veth", "peer", "name", "eth0", "netns", name)
            _ip("-n", hub, "link", "set", f"v{i}", "master", "bridge", "up")
            _ip("-n", name, "addr", "add", f"10.77.0.{i + 1}/24", "dev", "eth0")
            _ip("-n", name, "link", "set", "eth0", "up")
            _ip("-n", name, "route", "add", "default", "dev", "eth0")
        yield names
    finally:
        for name in (*names, hub):
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def _ip(*arguments: str) -> None:
    run = subprocess.run(["ip", *arguments], check=False, capture_output=True, text=True)
    if run.returncode:
        raise NotPossible(f"ip {' '.join(arguments)}: {run.stderr.strip()}")


def _crowd(domain: int, host: int) -> None:
    """Participants that listen, until a signal: SIGTERM for a good end."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    contexts = [Context() for _ in range(EACH)]
    readers = []
    for i, context in enumerate(contexts):
        rclpy.init(context=context, domain_id=domain)
        node = rclpy.create_node(f"crowd_{host}_{i}", context=context)
        readers.append(node.create_subscription(Image, MASK, lambda message: None, 1))
    print("there", flush=True)
    try:
        time.sleep(_LIFE_S)
    finally:
        for context in contexts:
            rclpy.try_shutdown(context=context)


def _scenario(folder: Path, domain: int, model: Path, seed: int, names: list[str]) -> None:
    rng = random.Random(seed)
    site = Site(folder / "site", domain, {"model": str(model)})
    crowds: list[subprocess.Popen[bytes]] = []

    def seen() -> int:
        # Names of nodes are no measure: rmw_dds_common enters a participant anew that is told of after its end
        # (GraphCache::update_participant_entities), and then keeps it.
        return int(site.listener.node.count_subscribers(MASK)) - 1

    def until(test: str, limit: float) -> None:
        wanted = PARTICIPANTS if test == "all" else 0
        assert site.listener.spin_until(lambda: seen() == wanted, limit), f"{seen()} participants, {wanted} expected"

    try:
        site.answered()
        before = None
        for _ in range(2):
            crowds = [
                subprocess.Popen(
                    _inside(name, "test.faults.namespaces", "crowd", str(domain), str(i)), stdout=subprocess.PIPE
                )
                for i, name in enumerate(names[1:])
            ]
            # How long ten processes take to start on a busy machine is not the node's time.
            for i, crowd in enumerate(crowds):
                assert crowd.stdout is not None
                assert crowd.stdout.readline(), f"the participants of host {i} did not start"
            until("all", _FOUND_S)
            site.answered()
            for crowd in rng.sample(crowds, len(crowds)):
                crowd.send_signal(rng.choice((signal.SIGTERM, signal.SIGKILL)))
                if rng.random() < 0.3:
                    site.answered()
            for crowd in crowds:
                # That a neighbour hangs is no fault of the node.
                end(crowd)
            site.answered()
            until("none", _GONE_S)
            site.answered()
            handles = len(os.listdir(f"/proc/{site.node.process.pid}/fd"))
            before = before or handles
            assert handles <= before + 5, f"file handles grew from {before} to {handles}"
    finally:
        for crowd in crowds:
            if crowd.poll() is None:
                crowd.kill()
        site.close()


def main() -> None:
    """In a namespace: the scenario, or one crowd."""
    if sys.argv[1] == "crowd":
        _crowd(int(sys.argv[2]), int(sys.argv[3]))
        return
    folder, domain, model, seed, *names = sys.argv[1:]
    profile = Path(folder) / "udp.xml"
    profile.write_text(_UDP_ONLY)
    # Other namespaces are other machines: the usual tests reach none.
    far = {**dict.fromkeys(PROFILE_VARIABLES, str(profile)), "ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET"}
    os.environ.update(far)
    harness.local_environment = lambda environment: far
    _scenario(Path(folder), int(domain), Path(model), int(seed), names)


if __name__ == "__main__":
    main()
