"""The sides of ``benchmarks.cpu_network`` and the files they share. PyTorch is imported by those that need it alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from m2a_core.bundle.loading import DEFAULT_MODEL, load_bundle
from m2a_core.types import Frame

if TYPE_CHECKING:
    import torch

Compute = Callable[[np.ndarray], tuple[np.ndarray, dict[str, float]]]
"""Image uint8 [H, W, 3] -> anomaly score float32 [H, W], seconds of ``network``, ``post``, ``total``."""

NAME = "r50-cityscapes"
HEADS = "heads"
"""The side that times the per-pixel heads alone; the others give a score."""
DEMO_FRAMES = Path(__file__).parent.parent / "config" / "demo" / "frames"
_STUFF = range(2, 11)
_POST_INPUTS = ("class_logits", "mask_logits")


def make_bundle(work: Path, size: str, edge: bool) -> tuple[int, int]:
    """Make random weights, the exported graph and the graph of the heads alone, unless they are there.

    Returns:
        The graph's input size.
    """
    if edge:
        return load_bundle(DEFAULT_MODEL).manifest.input_size
    folder = work / size / NAME
    if not (folder / "post.onnx").exists():
        import torch

        from m2a_core.cli.main import main as m2a
        from m2a_core.export.open_set_graph import OpenSetGraph
        from m2a_core.export.tracing import trace
        from m2a_core.labels.builtin import CITYSCAPES19
        from test.model.official_reference import Sizes, official_shapes, random_state

        torch.save({"model": random_state(official_shapes(Sizes()))}, work / "official.pth")
        (work / "thresholds.json").write_text(json.dumps({"anomaly": 0.5, "refined": 0.5}))
        weights = str(work / "r50.safetensors")
        steps = [
            ["convert", "--from", "official", str(work / "official.pth"), weights, "--model", NAME],
            [
                "export",
                "--weights",
                weights,
                "--model",
                NAME,
                "--size",
                size,
                "--out",
                str(folder),
                "--frames",
                str(DEMO_FRAMES / "000.jpg"),
                "--thresholds",
                str(work / "thresholds.json"),
            ],
        ]
        for step in steps:
            if m2a(step):
                raise SystemExit(f"m2a {' '.join(step)} failed")
        height, width = load_bundle(folder).manifest.input_size

        class Heads(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.heads = OpenSetGraph(CITYSCAPES19)

            def forward(self, class_logits: torch.Tensor, mask_logits: torch.Tensor) -> tuple[torch.Tensor, ...]:
                return self.heads(class_logits, mask_logits, (height, width))[:3]

        example = (torch.zeros(1, 100, 20), torch.zeros(1, 100, height // 4, width // 4))
        heads = trace(Heads().eval(), example, _POST_INPUTS, ("anomaly", "refined", "semantic"), 18, 1)
        (folder / "post.onnx").write_bytes(heads.SerializeToString())
    return load_bundle(folder).manifest.input_size


def prepare(side: str, work: Path, size: str, threads: int, edge: bool) -> Compute:
    """Load a side."""
    return SIDES[side](work, size, threads, edge)


def _transcription(work: Path, _: str, threads: int, __: bool) -> Compute:
    import torch
    import torch.nn.functional as F

    from m2a_core.preprocess import IMAGENET_MEAN, IMAGENET_STD
    from test.model.official_reference import Reference, Sizes

    class Transcription(Reference):
        """With the attention that the released code calls; the oracle's own goes head by head."""

        def attention(
            self, name: str, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, hidden: torch.Tensor | None = None
        ) -> torch.Tensor:
            w = {part: self.w[f"{name}.{part}"] for part in ("in_proj_weight", "in_proj_bias")}
            mask = None if hidden is None else hidden.repeat_interleave(self.s.heads, 0)
            out, _ = F.multi_head_attention_forward(
                q.transpose(0, 1),
                k.transpose(0, 1),
                v.transpose(0, 1),
                self.s.hidden,
                self.s.heads,
                w["in_proj_weight"],
                w["in_proj_bias"],
                None,
                None,
                False,
                0.0,
                self.w[f"{name}.out_proj.weight"],
                self.w[f"{name}.out_proj.bias"],
                training=False,
                attn_mask=mask,
            )
            return out.transpose(0, 1)

    torch.set_num_threads(threads)
    state = torch.load(work / "official.pth", weights_only=True)["model"]
    network = Transcription(state, Sizes())
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))

    def compute(image: np.ndarray) -> tuple[np.ndarray, dict[str, float]]:
        start = perf_counter()
        with torch.inference_mode():
            network.masks_used.clear()
            pixels = (torch.from_numpy(image.transpose(2, 0, 1)).float() - mean) / std
            class_logits, mask_logits = network(pixels[None])[-1]
            between = perf_counter()
            masks = F.interpolate(mask_logits, image.shape[:2], mode="bilinear", align_corners=False)[0].sigmoid()
            probabilities = class_logits[0].softmax(-1)
            scores = torch.einsum("qc,qhw->chw", probabilities[:, :-1], masks)
            best, _ = scores.max(0)
            anomaly = 1 - best
            top, label = probabilities.max(-1)
            kept = torch.tensor([int(c) in _STUFF for c in label]) & (top > 0.95)
            if int(kept.sum()) > 1:
                anomaly = anomaly * ~((top[kept][:, None, None] * masks[kept]) >= 0.5).any(0)
        end = perf_counter()
        return (1 - best).numpy(), {"network": between - start, "post": end - between, "total": end - start}

    return compute


def _torch(work: Path, _: str, threads: int, edge: bool) -> Compute:

    from m2a_core.cli.checkpoint import open_checkpoint
    from m2a_core.reference.network import TorchNetwork
    from m2a_core.reference.perception import CheckpointPerception

    class Timed(TorchNetwork):
        seconds = 0.0

        def logits(self, image: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, tuple[int, int]]:
            start = perf_counter()
            out = super().logits(image)
            self.seconds = perf_counter() - start
            return out

    bundle = load_bundle(DEFAULT_MODEL) if edge else None
    weights = bundle.directory / f"{bundle.manifest.name}.safetensors" if bundle else work / "official.pth"
    model, _origin = open_checkpoint(weights, bundle.manifest.name if bundle else NAME, None)
    runtime = Timed(model, threads)
    perception = CheckpointPerception(runtime)

    def compute(image: np.ndarray) -> tuple[np.ndarray, dict[str, float]]:
        start = perf_counter()
        result, _network = perception.infer_raw(Frame(image), raw=False)
        total = perf_counter() - start
        assert result.anomaly is not None
        return result.anomaly, {"network": runtime.seconds, "post": total - runtime.seconds, "total": total}

    return compute


def _onnx(work: Path, size: str, threads: int, edge: bool) -> Compute:
    from m2a_core.perception import Perception

    folder = load_bundle(DEFAULT_MODEL).directory if edge else work / size / NAME
    perception = Perception.load(folder, threads=threads, spin=True)

    def compute(image: np.ndarray) -> tuple[np.ndarray, dict[str, float]]:
        start = perf_counter()
        result = perception.infer(Frame(image))
        total = perf_counter() - start
        assert result.anomaly is not None
        assert result.timings_ms is not None
        network, post = result.timings_ms["network"] / 1e3, result.timings_ms["heads"] / 1e3
        return result.anomaly, {"network": network, "post": post, "total": total}

    return compute


def _heads(work: Path, size: str, threads: int, _: bool) -> Compute:
    import onnxruntime

    from m2a_core.runtime.onnx_runtime import _session_options

    session = onnxruntime.InferenceSession(str(work / size / NAME / "post.onnx"), _session_options(threads, spin=True))
    rng = np.random.default_rng(0)
    shapes = {arg.name: arg.shape for arg in session.get_inputs()}
    feed = {name: rng.normal(0, 4, shapes[name]).astype(np.float32) for name in _POST_INPUTS}

    def compute(_image: np.ndarray) -> tuple[np.ndarray, dict[str, float]]:
        # As in the whole graph, the processor does not come from idling.
        session.run(None, feed)
        start = perf_counter()
        anomaly = session.run(None, feed)[0][0]
        post = perf_counter() - start
        return anomaly, {"post": post}

    return compute


SIDES: dict[str, Callable[[Path, str, int, bool], Compute]] = {
    "transcription": _transcription,
    "torch": _torch,
    "onnx": _onnx,
    HEADS: _heads,
}
