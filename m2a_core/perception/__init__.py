"""From an image to an open-set result: letterbox, network, heads, and a second, closer look at the road's far end."""

from m2a_core.perception.pipeline import NO_ROAD, NOT_ON_A_PROCESSOR, WHOLE_IMAGES_ONLY, Perception

__all__ = ["NOT_ON_A_PROCESSOR", "NO_ROAD", "WHOLE_IMAGES_ONLY", "Perception"]
