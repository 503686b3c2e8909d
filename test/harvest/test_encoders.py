"""Embeddings of objects."""

from __future__ import annotations

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from m2a_core.bundle.loading import load_bundle
from m2a_core.errors import ModelError
from m2a_core.harvest.bag_records import unit
from m2a_core.harvest.encoders import AppearanceEncoder, NetworkEncoder, create_encoder, encoder_name
from m2a_core.harvest.feature_graph import feature_tensors


@pytest.fixture(scope="module")
def shipped():
    return load_bundle()


@pytest.fixture(scope="module")
def network(shipped):
    encoder = create_encoder(shipped, threads=1)
    assert isinstance(encoder, NetworkEncoder)
    return encoder


def crop(colour, size=(60, 80)):
    image = np.random.default_rng(0).integers(90, 110, (*size, 3)).astype(np.uint8)
    mask = np.zeros(size, bool)
    mask[20:50, 30:60] = True
    image[mask] = colour
    return image, mask


def test_shipped_graph_is_cut_at_mask_features_and_two_backbone_maps(shipped):
    model = onnx.load_from_string(shipped.read_graph())
    masks, *backbone = feature_tensors(model)
    producer = {output: node for node in model.graph.node for output in node.output}
    assert producer[masks].op_type == "Conv"
    assert "mask_features" in producer[masks].name
    assert len(backbone) == 2
    assert all(producer[name].name.startswith("model.backbone") for name in backbone)


def joined(encoder, image, mask):
    return unit(np.concatenate(encoder.embed(image, mask)))


@pytest.mark.slow
def test_embedding_repeats_and_its_blocks_keep_their_weights(network):
    """Mean and deviation of three maps, of the crop and of the object alone; and colours with the outline."""
    red, green = (network.embed(*crop(colour)) for colour in ((200, 30, 30), (30, 200, 30)))
    assert all(block.dtype == np.float32 for block in red)
    weights = [0.5, 0.5, 1, 1, 1, 1] * 2 + [1]
    for blocks in (red, green):
        assert [float(np.linalg.norm(block)) for block in blocks] == pytest.approx(weights, abs=1e-5)
    assert all(np.array_equal(*pair) for pair in zip(red, network.embed(*crop((200, 30, 30))), strict=True))


def test_what_surrounds_an_object_is_in_half_of_the_maps_alone(network):
    image, mask = crop((200, 30, 30))
    other = image.copy()
    other[cv2.dilate(mask.astype(np.uint8), np.ones((3, 3))) == 0] = 255
    same = [np.array_equal(*pair) for pair in zip(network.embed(image, mask), network.embed(other, mask), strict=True)]
    assert not any(same[:6])
    assert all(same[6:])


def test_features_are_those_under_the_mask(network):
    """Two objects in one picture have embeddings of their own, and the padding of the letterbox counts for none."""
    image = np.full((60, 200, 3), 110, np.uint8)
    image[10:50, 10:60], image[10:50, 140:190] = (200, 30, 30), (30, 60, 220)
    masks = np.zeros((2, 60, 200), bool)
    masks[0, 10:50, 10:60], masks[1, 10:50, 140:190] = True, True
    first, second = (joined(network, image, mask) for mask in masks)
    assert first @ second < 0.98
    assert joined(network, image, masks[0]) @ first == pytest.approx(1, abs=1e-5)


def test_graph_without_features_gives_appearance(tiny):
    encoder = create_encoder(load_bundle(tiny))
    assert isinstance(encoder, AppearanceEncoder)
    red, green = (joined(encoder, *crop(colour)) for colour in ((200, 30, 30), (30, 200, 30)))
    assert np.linalg.norm(red) == pytest.approx(1, abs=1e-5)
    assert red @ green < 0.9


def write_encoder(path, shape=(1, 3, 16, 16), kind=TensorProto.FLOAT):
    """Mean of each channel: [1, 3, 1, 1]."""
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["f", "axes"], ["y"], keepdims=1),
        ],
        "encoder",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.array([2, 3], np.int64), "axes")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
    return path


def test_external_encoder_sees_the_object_alone(tmp_path, tiny):
    bundle, path = load_bundle(tiny), write_encoder(tmp_path / "encoder.onnx")
    encoder = create_encoder(bundle, path, threads=1)
    image, mask = crop((250, 0, 0))
    (embedding,) = encoder.embed(image, mask)
    assert embedding.shape == (3,)
    # Red is above ImageNet's mean, green and blue below; the grey around says nothing.
    assert embedding[0] > 0 > embedding[1]
    other = image.copy()
    other[~mask] = 255
    assert np.array_equal(encoder.embed(other, mask)[0], embedding)
    assert encoder_name(bundle, path) != encoder_name(bundle, None)


def test_encoder_of_another_contract_is_named(tmp_path, tiny):
    bundle = load_bundle(tiny)
    text = tmp_path / "text.onnx"
    text.write_text("no graph")
    wrong = [
        write_encoder(tmp_path / "grey.onnx", (1, 1, 16, 16)),
        text,
        tmp_path / "missing.onnx",
        write_encoder(tmp_path / "bytes.onnx", kind=TensorProto.UINT8),
    ]
    for path in wrong:
        with pytest.raises(ModelError, match=f"--encoder {path}"):
            create_encoder(bundle, path)
