"""Draws the figures of docs/concepts.md: scores, refinement (as the paper's Fig. 6), attention (as its Figs. 4, 5, 12).

python benchmarks/concept_figures.py [--model BUNDLE] [--image FILE] [--out docs/pictures]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

from m2a_core.bundle.loading import load_bundle
from m2a_core.export.weights import load_trained
from m2a_core.images import read_image
from m2a_core.model.mask_attention import Attention
from m2a_core.openset.decision import decision_scores
from m2a_core.overlay import draw_overlay, draw_scores
from m2a_core.perception import Perception
from m2a_core.preprocess import Letterbox
from m2a_core.reference.network import MULTIPLE, TorchNetwork
from m2a_core.types import Frame

DEMO_FRAME = Path(__file__).parent.parent / "config" / "demo" / "frames" / "004.jpg"
WIDTH = 480
_BAND = 34


def main() -> None:
    """Write scores.webp, refinement.webp and attention.webp."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="m2a-edge")
    parser.add_argument("--image", type=Path, default=DEMO_FRAME)
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"))
    args = parser.parse_args()
    image = read_image(args.image)
    write(args.out / "scores.webp", scores(args.model, image))
    write(args.out / "refinement.webp", refinement(args.model, image))
    write(args.out / "attention.webp", attention(args.model, image), columns=4)


def scores(model: str, image: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Panels of one look: known classes, f, B, what decides, and the result."""
    perception = Perception.load(model, horizon=False)
    result, network = perception.infer_raw(Frame(image))
    geometry = Letterbox(perception.manifest.input_size).geometry(*image.shape[:2])
    _, decided = decision_scores(network.anomaly, network.refined, network.background, perception.manifest.decision)
    colors = np.array(perception.labels.colors, np.uint8)
    known = geometry.undo_labels(network.semantic)

    def heat(values: np.ndarray) -> np.ndarray:
        return draw_scores(geometry.undo_continuous(values))

    return [
        ("image", image),
        ("known classes, from S (Eq. 5)", colors[np.minimum(known, len(colors) - 1)]),
        ("f = 1 - max S (Eq. 7)", heat(network.anomaly)),
        ("B: strongest claim (Eq. 17)", heat(network.background)),
        ("D: what decides", heat(decided)),
        ("unknown objects", draw_overlay(image, result, perception.labels)),
    ]


def refinement(model: str, image: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Panels of Eq. 15: f, the mask R_M that hides confident stuff, f^r, and what m2a makes of R_M."""
    perception = Perception.load(model, horizon=False)
    _, network = perception.infer_raw(Frame(image))
    geometry = Letterbox(perception.manifest.input_size).geometry(*image.shape[:2])
    _, decided = decision_scores(network.anomaly, network.refined, network.background, "background")
    hidden = (network.refined == 0) & (network.anomaly > 0)

    def heat(values: np.ndarray) -> np.ndarray:
        return draw_scores(geometry.undo_continuous(values))

    return [
        ("image", image),
        ("f (Eq. 7)", heat(network.anomaly)),
        ("R_M (Eq. 15): dark = stuff", heat((~hidden).astype(np.float32))),
        ("f^r = R_M f: stuff is hidden", heat(network.refined)),
        ("B (Eq. 17)", heat(network.background)),
        ("D: B, halved where R_M = 0", heat(decided)),
    ]


def attention(model: str, image: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Where the last layer's queries look: the foreground and the background term of Eq. 10, and their masks."""
    bundle = load_bundle(model)
    weights = next(bundle.directory.glob("*.safetensors"))
    network, _ = load_trained(weights, bundle.manifest.name)
    letterbox = Letterbox(bundle.manifest.input_size)
    seen, geometry = letterbox.apply(image)
    valid = seen[: geometry.valid[0] // 32 * 32, : geometry.valid[1]]
    maps: dict[str, np.ndarray] = {}
    layer = network.transformer_decoder.layers[-1].mask_attention
    hooks = [
        getattr(layer, term).register_forward_hook(_keep(maps, term))
        for term in ("foreground", "background")
        if getattr(layer, term) is not None
    ]
    class_logits, mask_logits, _ = TorchNetwork(network).logits(valid)
    for hook in hooks:
        hook.remove()
    names = bundle.manifest.labels.names
    probability = torch.softmax(class_logits, -1)[:, :-1].numpy()
    panels = []
    for wanted in ("road", "car"):
        if wanted not in names:
            continue
        masks = torch.sigmoid(mask_logits).numpy()
        # The query that draws most of the class: several may name it with an empty mask.
        query = int((probability[:, names.index(wanted)] * (masks > 0.5).sum((1, 2))).argmax())
        panels.append(("image", valid))
        panels.append((f"mask of a query of '{wanted}'", draw_scores(masks[query])))
        for term in maps:
            weights_of = maps[term][query]
            level = _grid(weights_of, valid.shape[:2])
            panels.append((f"'{wanted}': {term} attention", draw_scores(level / level.max())))
    return panels


def _keep(maps: dict[str, np.ndarray], term: str):  # type: ignore[no-untyped-def] # a hook, as torch wants it
    def hook(module: nn.Module, inputs: tuple[torch.Tensor, ...], _: torch.Tensor) -> None:
        assert isinstance(module, Attention)
        query, key, _, attend = inputs
        q, k = (
            p(x).unflatten(-1, (module.heads, -1)).transpose(1, 2)
            for p, x in ((module.q_proj, query), (module.k_proj, key))
        )
        logits = (q @ k.transpose(-1, -2)) / q.shape[-1] ** 0.5
        maps[term] = logits.masked_fill(~attend[:, None], -torch.inf).softmax(-1).mean(1)[0].detach().numpy()

    return hook


def _grid(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Attention weights [S] as a map of a level whose aspect is the image's."""
    height, width = (side + -side % MULTIPLE for side in size)
    stride = round((height * width / len(values)) ** 0.5)
    level = values.reshape(height // stride, width // stride)
    return cv2.resize(level, (width, height), interpolation=cv2.INTER_LINEAR)[: size[0], : size[1]]


def write(path: Path, panels: list[tuple[str, np.ndarray]], columns: int = 3) -> None:
    """Panels in rows, each with its title."""
    tiles = []
    for title, panel in panels:
        small = cv2.resize(panel, (WIDTH, round(panel.shape[0] * WIDTH / panel.shape[1])), interpolation=cv2.INTER_AREA)
        band = np.full((_BAND, WIDTH, 3), 255, np.uint8)
        cv2.putText(band, title, (6, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.75, (30, 30, 30), 1, cv2.LINE_AA)
        tiles.append(np.vstack([band, small]))
    height = min(tile.shape[0] for tile in tiles)
    tiles = [cv2.resize(tile, (WIDTH, height)) for tile in tiles]
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    rows = [np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
    cv2.imwrite(str(path), np.vstack(rows)[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, 80])


if __name__ == "__main__":
    main()
