"""A node of yours that listens to m2a and brakes: python examples/planner_node.py --ros-args -p camera:=front

It reads the unknown objects' places from ``/m2a/output/CAMERA/unknown_markers`` (metres, in ``base_link``: x ahead, y
left) and publishes on ``~/speed_limit`` (std_msgs/Float64, m/s) how fast the vehicle may drive to stop before the
nearest one in its lane. When m2a is silent for ``timeout`` seconds, the limit is 0: silence is not a free road.

A sketch to start from. It plans no path, and m2a is not a certified safety function.
"""

import contextlib
import math

import rclpy
from rclpy.node import Node
from std_msgs.msg import Float64
from visualization_msgs.msg import Marker, MarkerArray


class Planner(Node):
    """Turns places of unknown objects into a speed limit."""

    def __init__(self) -> None:
        """Declare the parameters, listen to one camera."""
        super().__init__("planner")
        defaults = {
            "camera": "front",
            "lane_width": 3.0,
            "margin": 5.0,
            "braking": 4.0,
            "top_speed": 15.0,
            "timeout": 1.0,
        }
        for name, value in defaults.items():
            self.declare_parameter(name, value)
        topic = f"/m2a/output/{self.value('camera')}/unknown_markers"
        self.create_subscription(MarkerArray, topic, self.take, 1)
        self.limit = self.create_publisher(Float64, "~/speed_limit", 1)
        self.heard = -math.inf
        self.nearest = math.inf
        self.create_timer(0.1, self.decide)

    def value(self, name: str) -> float | str:
        """A parameter's value."""
        return self.get_parameter(name).value

    def take(self, message: MarkerArray) -> None:
        """Keep the distance of the nearest object in the lane; m2a sends an array for every frame, even if empty."""
        places = [m.pose.position for m in message.markers if m.ns.endswith("/footprint") and m.action == Marker.ADD]
        ahead = [p.x for p in places if p.x > 0 and abs(p.y) < self.value("lane_width") / 2]
        self.nearest = min(ahead, default=math.inf)
        self.heard = self.seconds()

    def decide(self) -> None:
        """Publish the limit: v^2 = 2 a s."""
        silent = self.seconds() - self.heard > self.value("timeout")
        free = 0.0 if silent else max(0.0, self.nearest - self.value("margin"))
        limit = min(self.value("top_speed"), math.sqrt(2 * self.value("braking") * free))
        self.limit.publish(Float64(data=limit))

    def seconds(self) -> float:
        """The node's clock."""
        return self.get_clock().now().nanoseconds / 1e9


def main() -> None:
    """Spin until Ctrl-C."""
    rclpy.init()
    with contextlib.suppress(KeyboardInterrupt, rclpy.executors.ExternalShutdownException):
        rclpy.spin(Planner())


if __name__ == "__main__":
    main()
