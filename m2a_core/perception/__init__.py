"""From an image to an open-set result: letterbox, network, heads, and a second, closer look at the road's far end."""

from m2a_core.perception.pipeline import NO_ROAD, Perception

__all__ = ["NO_ROAD", "Perception"]
