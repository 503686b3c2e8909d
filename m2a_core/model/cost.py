"""Parameters, multiply-adds and memory of a network, counted without computing anything (meta tensors)."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from m2a_core.errors import ConfigError
from m2a_core.model.config import ModelConfig
from m2a_core.model.mask2anomaly import Mask2Anomaly, build_model

_STRIDES = {"res2": 4, "res3": 8, "res4": 16, "res5": 32}


@dataclass(frozen=True)
class Cost:
    """What one forward pass of one image costs.

    Attributes:
        model: name of the configuration.
        size: H, W of the input in pixels.
        parameters: all of them.
        trainable: those outside the backbone, which the paper freezes.
        multiply_adds: of convolutions, linear layers and attention.
        by_part: the same for backbone, pixel decoder and transformer decoder.
        sampling: multiply-adds of the bilinear samples in deformable attention, which ``multiply_adds`` leaves out.
        weight_bytes: parameters and buffers in float32.
        activation_bytes: peak of tensors alive at once beside the weights, in float32; without an allocator's waste
            and without what an operator uses inside itself (convolutions, deformable attention).
    """

    model: str
    size: tuple[int, int]
    parameters: int
    trainable: int
    multiply_adds: int
    by_part: dict[str, int]
    sampling: int
    weight_bytes: int
    activation_bytes: int


def measure(config: ModelConfig, size: tuple[int, int]) -> Cost:
    """Count a network's cost in inference.

    Args:
        config: the network.
        size: H, W of the input, multiples of 32.

    Raises:
        ConfigError: a side is not a positive multiple of 32.
    """
    if any(n < 32 or n % 32 for n in size):
        raise ConfigError(f"size {size[0]}x{size[1]}: expected positive multiples of 32")
    with torch.device("meta"):
        model = build_model(config).eval().requires_grad_(False)
        image = torch.empty(1, 3, *size)
    with torch.no_grad(), FlopCounterMode(display=False) as flops, _PeakBytes() as peak:
        model(image)
    counts = flops.get_flop_counts()
    parts = {
        part: sum(counts.get(f"Mask2Anomaly.{part}", {}).values()) // 2
        for part in ("backbone", "pixel_decoder", "transformer_decoder")
    }
    parameters = sum(p.numel() for p in model.parameters())
    return Cost(
        model=config.name,
        size=size,
        parameters=parameters,
        trainable=parameters - sum(p.numel() for p in model.backbone.parameters()),
        multiply_adds=flops.get_total_flops() // 2,
        by_part=parts,
        sampling=_sampling(config, size),
        weight_bytes=_bytes(model),
        activation_bytes=peak.peak,
    )


def _sampling(config: ModelConfig, size: tuple[int, int]) -> int:
    """Four neighbours and one attention weight for each sample and channel."""
    tokens = sum((size[0] // s) * (size[1] // s) for s in (_STRIDES[name] for name in config.encoder_levels))
    samples = tokens * len(config.encoder_levels) * config.encoder_points
    return 5 * samples * config.hidden_dim * config.encoder_layers


def _bytes(model: Mask2Anomaly) -> int:
    return sum(t.numel() * t.element_size() for t in model.state_dict().values())


class _PeakBytes(TorchDispatchMode):
    """Follows the storages that operators make, from birth to death."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0
        self._alive = 0
        self._holders: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        known = {t.untyped_storage()._cdata for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)}
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self._hold(tensor, known)
        return result

    def _hold(self, tensor: torch.Tensor, inputs: set[int]) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key not in self._holders:
            if key in inputs:
                return
            self._holders[key] = 0
            self._alive += size
            self.peak = max(self.peak, self._alive)
        self._holders[key] += 1
        weakref.finalize(tensor, self._release, key, size)

    def _release(self, key: int, size: int) -> None:
        self._holders[key] -= 1
        if self._holders[key] == 0:
            del self._holders[key]
            self._alive -= size
