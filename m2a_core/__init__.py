"""m2a: open-set perception for vehicles, after Mask2Anomaly (Rai et al., TPAMI 2024).

    import m2a_core as m2a

    model = m2a.load("m2a-edge")
    result = model("photo.jpg")            # or a uint8 RGB array [H, W, 3]
    for item in result.instances:
        print(item.id, item.score, item.bbox)
    result.save("overlay.jpg")

The package never imports ROS; its running path never imports torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from m2a_core.api import Logits, Model, Result, load
    from m2a_core.errors import M2aError
    from m2a_core.types import UnknownInstance

__version__ = "0.2.0"
__all__ = ["Logits", "M2aError", "Model", "Result", "UnknownInstance", "__version__", "load"]

_HOMES = {
    "M2aError": "m2a_core.errors",
    "Logits": "m2a_core.api",
    "Model": "m2a_core.api",
    "Result": "m2a_core.api",
    "UnknownInstance": "m2a_core.types",
    "load": "m2a_core.api",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for only then: a submodule must not bring the whole running path with it."""
    if name not in _HOMES:
        raise AttributeError(f"module 'm2a_core' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
