"""A ROS domain of one's own: processes in it hear no others on this machine."""

from __future__ import annotations

import random
import socket

from m2a_ros.process.children import ChildError


def free_domain() -> int:
    """A ROS domain id that no participant on this machine uses.

    Raises:
        ChildError: all are in use.
    """
    # Up to 101: the ports of higher ids can be handed out as ephemeral ones (Linux).
    candidates = random.sample(range(1, 102), 101)
    for domain in candidates:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                # RTPS 2.5, 9.6.2.3: unicast discovery port of the domain's first participant.
                probe.bind(("", 7400 + 250 * domain + 10))
            except OSError:
                continue
            return domain
    raise ChildError("all ROS domains from 1 to 101 are in use on this machine; stop some ROS processes and try again")
