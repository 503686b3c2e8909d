"""What the ablations run: short trainings from one network, and choices of the open-set heads without any training."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
import yaml

from benchmarks.ablation_report import Report
from benchmarks.bundle_network import bundle_network
from benchmarks.outlier_class import measure_outlier_class, take_class_head
from benchmarks.unknown_instances import true_segments
from m2a_core.bundle.loading import load_bundle, sha256_of
from m2a_core.metrics.panoptic import PanopticQuality, Segments
from m2a_core.metrics.pixel import PixelMetrics
from m2a_core.openset.candidates import Layer, candidates_of
from m2a_core.openset.components import Component, find_components
from m2a_core.openset.instances import MAX_INSTANCES, describe_instances
from m2a_core.openset.mining import mine_unknown
from m2a_core.openset.refinement import RefinementRule, refinement_rule
from m2a_core.preprocess import Letterbox
from m2a_core.progress import ProgressBar
from m2a_core.reference.scores import score_maps
from m2a_core.runtime.factory import create_runtime
from m2a_core.training.build import build_trainer
from m2a_core.training.composed import ComposedImage, compose
from m2a_core.training.config import TrainConfig
from m2a_core.training.datasets import LabelledImage, camvid_sources, load_cutouts
from m2a_core.training.initial import load_related_weights
from m2a_core.training.strict import from_dict
from m2a_core.training.validation import normalise, validate

COMMAND = "python benchmarks/ablations.py --table"


@dataclass(frozen=True)
class RunSpec:
    """What differs between the runs; each field overrides the base configuration's."""

    attention: str = "global_masked"
    contrastive: str = "printed"
    margin: float = 0.75
    outlier_prob: float = 0.5
    subset: int = 0
    limit: int = 0
    modes: tuple[str, ...] = ("alpha",)
    on_road: float = 0.75
    metres: tuple[float, float] = (0.25, 1.8)
    void: str = "ignore"
    lovasz: float = 0.0
    semantic: float = 0.0


@dataclass(frozen=True)
class Settings:
    """What all runs share; see the command's help."""

    config: Path
    data_root: Path
    runs: Path
    start: Path | None
    steps: int
    crop: tuple[int, ...] | None
    frames: int
    model: str

    def describe(self, seeds: list[int]) -> str:
        """For the reader of a table."""
        base = yaml.safe_load(self.config.read_text(encoding="utf-8"))
        stage, crop = base["stages"][0], self.train_config(RunSpec(), 0).data.augment.crop
        assert self.start is not None
        return (
            f"{self.steps} steps of {stage['batch_size']} crops of {crop[0]}x{crop[1]} "
            f"pixels, learning rate {stage['lr']}, from `{self.start.name}` (SHA-256 {sha256_of(self.start)[:12]}), "
            f"{len(seeds)} seeds; measured on {len(held_frames(self)[0])} held-apart "
            "CamVid frames: mIoU as they are, the ranking with objects of unseen kinds."
        )

    def train_config(self, spec: RunSpec, seed: int) -> TrainConfig:
        """The configuration of a run."""
        base = yaml.safe_load(self.config.read_text(encoding="utf-8"))
        (stage,) = base["stages"]
        pasting = spec.contrastive != "none" or spec.void == "class"
        stage |= {"iterations": self.steps, "outlier_prob": spec.outlier_prob if pasting else 0.0}
        names = ("contrastive", "margin", "lovasz", "semantic")
        stage["loss"] |= {name: getattr(spec, name) for name in names}
        data = base["data"]
        data["void"] = spec.void
        data["outliers"] = data.get("outliers", {}) | {"subset": spec.subset, "limit": spec.limit}
        data["blend"] = data.get("blend", {}) | {
            "modes": list(spec.modes),
            "on_road": spec.on_road,
            "metres": list(spec.metres),
        }
        if self.crop is not None:
            data["augment"]["crop"] = list(self.crop)
        return from_dict(TrainConfig, base | {"attention": spec.attention, "seed": seed + 1})


@cache
def held_frames(settings: Settings) -> tuple[list[LabelledImage], list[ComposedImage]]:
    """Held-apart frames, and the same with objects of kinds that no run trains on."""
    config = settings.train_config(RunSpec(), 0)
    _, sources = camvid_sources(settings.data_root / "camvid", config.data.splits, config.data.held_apart)
    held = [source.read() for source in sources]
    if settings.frames:
        held = [held[i] for i in np.unique(np.linspace(0, len(held) - 1, settings.frames).round().astype(int))]
    kinds = settings.config.parent / config.data.validation_kinds
    _, unseen = load_cutouts(settings.data_root / "outliers", kinds)
    return held, compose(held, unseen, config.validation.seed)


def evaluate_run(spec: RunSpec, seed: int, settings: Settings) -> dict[str, float]:
    """Train one variant, or take its result if it was trained before.

    Returns:
        ``miou``, and ``auprc`` and ``fpr95`` of ``anomaly`` (f) and ``refined`` (f^r).
    """
    assert settings.start is not None
    identity = json.dumps(
        {
            "spec": dataclasses.asdict(spec),
            "config": settings.config.read_text(encoding="utf-8"),
            "seed": seed,
            "steps": settings.steps,
            "start": sha256_of(settings.start),
            "crop": settings.crop,
            "frames": settings.frames,
        },
        sort_keys=True,
    )
    out = settings.runs / hashlib.sha256(identity.encode()).hexdigest()[:16]
    result = out / "result.json"
    if result.is_file():
        return json.loads(result.read_text(encoding="utf-8"))
    config = settings.train_config(spec, seed)
    trainer = build_trainer(config, settings.config.parent, settings.data_root, out)
    for network in (trainer.model, trainer.averages.network):
        # Void-train has one class more; anything else that is left out would make the comparison unfair unnoticed.
        missing = [name for name in load_related_weights(network, settings.start) if ".class_head." not in name]
        if missing:
            raise SystemExit(f"{settings.start}: not weights of '{config.model}', {missing[0]} is missing")
        if spec.void == "class":
            take_class_head(network, settings.start)
    trainer.validate = lambda model: {}
    if trainer.checkpoint.exists():
        trainer.resume()
    out.mkdir(parents=True, exist_ok=True)
    (out / "identity.json").write_text(identity, encoding="utf-8")
    if not trainer.run():
        raise SystemExit("interrupted; the same command goes on from here")
    held, composed = held_frames(settings)
    size = config.validation.input_size
    measured = validate(trainer.averages.network, held, [] if spec.void == "ignore" else composed, trainer.labels, size)
    if spec.void == "class":
        measured |= measure_outlier_class(trainer.averages.network, composed, size)
    else:
        rules = {"anomaly": None, "refined": refinement_rule(trainer.labels)}
        measured |= measure(trainer.averages.network, composed, size, rules)
    result.write_text(json.dumps(measured), encoding="utf-8")
    trainer.checkpoint.unlink()
    return measured


@torch.no_grad()
def measure(
    model: torch.nn.Module,
    composed: list[ComposedImage],
    size: tuple[int, int],
    rules: Mapping[str, RefinementRule | None],
) -> dict[str, float]:
    """``auprc`` and ``fpr95`` on composed frames for each rule of refinement, in the paper's order of operations."""
    model.eval()
    rankings = {name: PixelMetrics() for name in rules}
    letterbox = Letterbox(size)
    for item in ProgressBar(composed, desc="measuring", leave=False):
        boxed, geometry = letterbox.apply(item.image)
        output = model(normalise([boxed]))
        for name, rule in rules.items():
            maps = score_maps(
                output.class_logits[0], output.mask_logits[0], size, geometry.valid, geometry.original, rule
            )
            rankings[name].update(maps.refined.numpy(), item.label)
    result = {}
    for name, ranking in rankings.items():
        found = ranking.compute()
        result |= {f"{name}_auprc": found.auprc, f"{name}_fpr95": found.fpr95}
    return result


def refine_choices(settings: Settings) -> Report:
    """Table 5d: what the refinement mask suppresses, with the model of a bundle."""
    bundle = load_bundle(settings.model)
    model = bundle_network(bundle)
    labels = model.config.labels
    shipped = refinement_rule(labels)
    rules = {
        "without": None,
        "things without road": dataclasses.replace(shipped, suppressed=labels.things - {labels.road}),
        "stuff without road": shipped,
    }
    _, composed = held_frames(settings)
    size = settings.train_config(RunSpec(), 0).validation.input_size
    found = measure(model, composed, size, rules)
    rows = {name: [{"AuPRC": found[f"{name}_auprc"], "FPR95": found[f"{name}_fpr95"]}] for name in rules}
    setup = f"`{bundle.manifest.name}` as shipped, in PyTorch, on {len(composed)} composed frames; nothing is trained."
    claim = "suppressing stuff without road helps FPR95 a lot and AuPRC a little, suppressing things without road hurts"
    return Report("5d", "Table 5d: what the refinement mask suppresses", claim, rows, setup, f"{COMMAND} 5d")


Miner = Callable[[np.ndarray, np.ndarray, np.ndarray, int, int], list[Component]]


def mine(settings: Settings) -> list[Report]:
    """Tables 6 to 8: mining of unknown instances, with the graph of a bundle."""
    bundle = load_bundle(settings.model)
    labels, limits = bundle.manifest.labels, bundle.manifest.thresholds
    _, composed = held_frames(settings)
    runtime = create_runtime(bundle)
    letterbox = Letterbox(runtime.input_size)
    frames = []
    for item in ProgressBar(composed, desc="network", leave=False):
        boxed, geometry = letterbox.apply(item.image)
        frames.append((item, runtime.infer(boxed), geometry))

    def quality(miner: Miner, background: bool = False) -> list[dict[str, float]]:
        total = PanopticQuality()
        for item, net, geometry in frames:
            height, width = geometry.valid
            if background:
                candidates = net.background[:height, :width] >= limits.background
            else:
                candidates = candidates_of(
                    [Layer(net.refined[:height, :width])], (height, width), limits.refined, limits.extent
                )
            stride = net.anomaly.shape[0] // net.query_masks.shape[1]
            masks = net.query_masks[:, : -(-height // stride), : -(-width // stride)]
            area = max(1, round(limits.min_area * height * width))
            found = miner(candidates, masks, net.class_probs, stride, area)[:MAX_INSTANCES]
            numbers, instances = describe_instances(found, net.anomaly, geometry)
            ids = geometry.undo_labels(numbers)
            unknown = {i.id: labels.unknown_id for i in instances}
            total.update(Segments(ids, unknown), true_segments(item.label, labels.unknown_id, 50))
        result = total.quality([labels.unknown_id])
        return [{"PQ": result.pq, "SQ": result.sq, "RQ": result.rq}]

    def mined(number: int | None, iterations: int | None, required: bool = False) -> Miner:
        return lambda candidates, masks, probs, stride, area: mine_unknown(
            candidates,
            masks,
            probs,
            labels,
            stride=stride,
            mask_required=required,
            min_overlap=limits.component_overlap,
            min_area=area,
            number=number,
            iterations=iterations,
        )

    setup = (
        f"`{bundle.manifest.name}` as shipped, {len(composed)} composed frames with one or two unknown objects each, "
        "true objects of at least 50 pixels; candidates are the seeded components of f^r, or where it says so of the "
        "background (Eq. 17); nothing is trained."
    )
    shipped = quality(mined(None, None))
    six = {str(n): quality(mined(None, n)) for n in (1, 10, 100, 200, 500, 1000)} | {"exact": shipped}
    seven = {str(n): quality(mined(n, None)) for n in (1, 2, 3, 5)} | {"all": shipped}
    eight = {
        "f^r, every component": quality(lambda c, masks, probs, stride, area: find_components(c, None, None, area)),
        "f^r, mining, mask needed": quality(mined(None, None, required=True)),
        "f^r, mining, mask optional": shipped,
        "background, 3 components": quality(lambda c, m, p, stride, area: find_components(c, 3, None, area), True),
        "background, 3, mining": quality(mined(3, None, required=True), True),
    }
    claim = (
        "mining raises the PQ of unknown objects (14.6 against 9.1), global masked attention once more; the row "
        "without global masked attention needs a network trained without it"
    )
    tables = (
        ("6", "Table 6: iterations of the connected components", "PQ is best at 500 iterations", six),
        ("7", "Table 7: number of connected components", "PQ is best with 3 components", seven),
        ("8", "Table 8: mining of unknown instances", claim, eight),
    )
    return [Report(name, title, finding, rows, setup, f"{COMMAND} 6-8") for name, title, finding, rows in tables]
