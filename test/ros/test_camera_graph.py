"""The node with a model whose graph takes the camera's own image, beside one that letterboxes it on the processor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sensor_msgs.msg import Image

from m2a_core.bundle.loading import load_bundle
from m2a_core.export.camera_graph import write_camera_bundle
from m2a_ros.images.conversions import image_to_array
from m2a_ros.node.pipeline import OTHER_SIZE
from test.ros.in_process import Nodes
from test.ros.messages import image, scene
from test.tiny_bundle import write_tiny_bundle

SIZE = (192, 256)
MAPS = ("open_set_mask", "anomaly_map", "panoptic")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    plain = write_tiny_bundle(tmp_path_factory.mktemp("models") / "tiny")
    camera, _ = write_camera_bundle(load_bundle(plain), SIZE, "bgr8", [scene(None, SIZE)])
    return {"plain": plain, "camera": camera}


def test_it_publishes_what_the_plain_model_does(nodes: Nodes, models: dict[str, Path]) -> None:
    for name, model in models.items():
        nodes.start(name, model=str(model), **{"horizon.window": False})
        for output in MAPS:
            nodes.listen(f"/{name}/m2a/output/front/{output}", Image)
        nodes.listen(f"/{name}/m2a/debug/front/overlay", Image)
    picture = image(scene((100, 90, 150, 150), SIZE), 1, "bgr8")

    def send() -> None:
        for name in models:
            nodes.send(f"/{name}/m2a/input/front/image", picture)

    topics = [
        f"/{name}/m2a/{path}"
        for name in models
        for path in ("debug/front/overlay", *(f"output/front/{o}" for o in MAPS))
    ]
    nodes.until(lambda: all(nodes.received[topic] for topic in topics), send)
    for path in ("debug/front/overlay", *(f"output/front/{output}" for output in MAPS)):
        want, got = (image_to_array(nodes.received[f"/{name}/m2a/{path}"][-1]) for name in ("plain", "camera"))
        assert got.shape == want.shape
        assert np.isclose(got.astype(float), want, atol=2 if "overlay" in path else 0.02).mean() > 0.98, path
        assert len(np.unique(want)) > 2, path


def test_images_of_another_size_are_refused_and_counted(nodes: Nodes, models: dict[str, Path]) -> None:
    nodes.start(model=str(models["camera"]))
    masks = nodes.listen("/m2a/output/front/open_set_mask", Image)
    small = image(scene(None), 1)
    status = nodes.until(
        lambda: nodes.status("m2a: camera front").get(f"dropped.{OTHER_SIZE}"),
        lambda: nodes.send("/m2a/input/front/image", small),
    )
    assert int(status) > 0
    assert "takes a camera's images of 256x192 only" in nodes.status("m2a: camera front")["last_error"]
    assert not masks
