import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m2a_core.bundle.manifest import Thresholds
from m2a_core.contract.network_output import NetworkOutput
from m2a_core.labels.builtin import CAMVID11, CITYSCAPES19
from m2a_core.labels.coco import COCO_PANOPTIC133
from m2a_core.openset.components import find_components
from m2a_core.openset.head import OpenSetHead
from m2a_core.openset.instances import describe_instances
from m2a_core.openset.objects import Candidates
from m2a_core.preprocess import Geometry, Letterbox
from m2a_core.types import ALL_OUTPUTS, PANOPTIC_VOID, Output

INPUT = (64, 96)
ROAD = 3
THRESHOLDS = Thresholds(anomaly=0.5, refined=0.5, min_area=0.001)


def network_output(anomaly, background=None, thing_mask=None):
    """A road everywhere (query 0); query 1, a no-object query that looks like a thing, covers ``thing_mask``."""
    height, width = anomaly.shape
    masks = np.zeros((2, height // 4, width // 4), bool)
    masks[0] = True
    masks[1] = False if thing_mask is None else thing_mask
    probs = np.full((2, 12), 0.01, np.float32)
    probs[0, ROAD], probs[1, 8], probs[1, 11] = 0.9, 0.3, 0.6
    return NetworkOutput(
        anomaly=anomaly,
        refined=anomaly,
        semantic=np.full(anomaly.shape, ROAD, np.uint8),
        background=anomaly if background is None else background,
        winning_query=np.zeros(masks.shape[1:], np.int32),
        query_masks=masks,
        class_probs=probs,
    )


@pytest.fixture
def two_objects():
    """A strong one at rows 8..15, columns 16..31 and a weak, larger one at rows 24..39, columns 40..63."""
    anomaly = np.full(INPUT, 0.1, np.float32)
    anomaly[8:16, 16:32] = 0.9
    anomaly[24:40, 40:64] = 0.6
    return network_output(anomaly)


def test_image_at_the_input_size(two_objects):
    result = OpenSetHead(CAMVID11, THRESHOLDS).compute(two_objects, Letterbox(INPUT).geometry(*INPUT), ALL_OUTPUTS)
    unknown = np.zeros(INPUT, np.uint16)
    unknown[8:16, 16:32], unknown[24:40, 40:64] = 1, 2
    np.testing.assert_array_equal(result.anomaly, two_objects.anomaly)
    np.testing.assert_array_equal(result.refined, two_objects.refined)
    np.testing.assert_array_equal(result.semantic, two_objects.semantic)
    np.testing.assert_array_equal(result.unknown_instances, unknown)
    np.testing.assert_array_equal(result.open_set, np.where(unknown > 0, 11, ROAD))
    np.testing.assert_array_equal(result.panoptic, np.where(unknown > 0, 11 * 256 + unknown, ROAD * 256))
    dtypes = [getattr(result, o.value).dtype for o in Output]
    assert dtypes == [np.float32] * 5 + [np.uint8, np.uint8, np.int32, np.uint16]
    strong, weak = result.instances
    assert (strong.id, strong.area, strong.bbox, strong.contact) == (1, 128, (16, 8, 32, 16), (23.5, 15.0))
    assert (weak.id, weak.area, weak.bbox, weak.contact) == (2, 384, (40, 24, 64, 40), (51.5, 39.0))
    assert [i.score for i in result.instances] == pytest.approx([0.9, 0.6])
    assert strong.contour.dtype == np.int32
    assert sorted(map(tuple, strong.contour.tolist())) == [(16, 8), (16, 15), (31, 8), (31, 15)]


@pytest.mark.parametrize("size", [(64, 96), (128, 192), (32, 48), (50, 96), (64, 41), (131, 77), (20, 300), (1, 1)])
def test_outputs_have_the_images_own_size(two_objects, size):
    result = OpenSetHead(CAMVID11, THRESHOLDS).compute(two_objects, Letterbox(INPUT).geometry(*size), ALL_OUTPUTS)
    for output in Output:
        assert getattr(result, output.value).shape == size
    np.testing.assert_array_equal(result.open_set == 11, result.anomaly >= 0.5)
    check_instances(result.unknown_instances, result.instances)


def check_instances(ids, instances):
    """Map and records say the same; instances are disjoint by construction of the map."""
    assert [i.id for i in instances] == list(range(1, len(instances) + 1))
    assert set(np.unique(ids).tolist()) - {0} == {i.id for i in instances}
    assert [i.score for i in instances] == sorted((i.score for i in instances), reverse=True)
    for instance in instances:
        y, x = np.nonzero(ids == instance.id)
        assert instance.area == len(y)
        assert instance.bbox == (x.min(), y.min(), x.max() + 1, y.max() + 1)
        assert instance.contact == pytest.approx((x[y == y.max()].mean(), y.max()))
        assert (ids[instance.contour[:, 1], instance.contour[:, 0]] == instance.id).all()


@given(st.integers(0, 2**32 - 1), st.tuples(st.integers(1, 60), st.integers(1, 60)))
@settings(max_examples=80, deadline=None)
def test_map_and_records_agree_at_any_size(seed, size):
    rng = np.random.default_rng(seed)
    geometry = Letterbox((24, 32)).geometry(*size)
    anomaly = rng.random((24, 32)).astype(np.float32)
    components = find_components(rng.random(geometry.valid) < 0.25, number=255)
    numbers, instances = describe_instances(components, anomaly, geometry)
    ids = geometry.undo_labels(numbers)
    assert ids.dtype == np.uint16
    assert ids.shape == size
    check_instances(ids, instances)
    if geometry.valid == geometry.original:
        assert len(instances) == len(components)


@pytest.mark.parametrize("output", Output)
def test_an_output_alone_equals_the_one_among_all(two_objects, output):
    head = OpenSetHead(CAMVID11, THRESHOLDS)
    geometry = Letterbox(INPUT).geometry(100, 150)
    whole = head.compute(two_objects, geometry, ALL_OUTPUTS)
    alone = head.compute(two_objects, geometry, frozenset({output}))
    np.testing.assert_array_equal(getattr(alone, output.value), getattr(whole, output.value))
    assert all(getattr(alone, o.value) is None for o in Output if o is not output)
    assert len(alone.instances) == (2 if output is Output.UNKNOWN_INSTANCES else 0)


def test_nothing_wanted_gives_nothing(two_objects):
    result = OpenSetHead(CAMVID11, THRESHOLDS).compute(two_objects, Letterbox(INPUT).geometry(*INPUT), frozenset())
    assert all(getattr(result, o.value) is None for o in Output)
    assert result.instances == ()


def test_padding_is_never_part_of_an_instance():
    anomaly = np.full(INPUT, 0.1, np.float32)
    anomaly[40:] = 0.9
    geometry = Geometry((44, 96), (44, 96), (1.0, 1.0))
    result = OpenSetHead(CAMVID11, THRESHOLDS).compute(network_output(anomaly), geometry, ALL_OUTPUTS)
    assert [i.bbox for i in result.instances] == [(0, 40, 96, 44)]


def test_without_an_anomaly_there_is_no_instance():
    net = network_output(np.full(INPUT, 0.1, np.float32))
    result = OpenSetHead(CAMVID11, THRESHOLDS).compute(net, Letterbox(INPUT).geometry(90, 90), ALL_OUTPUTS)
    assert result.instances == ()
    assert not result.unknown_instances.any()
    assert (result.panoptic == ROAD * 256).all()


def test_without_a_kept_query_the_panoptic_map_is_void():
    net = network_output(np.full(INPUT, 0.1, np.float32))
    net.class_probs[:, :-1], net.class_probs[:, -1] = 0, 1
    result = OpenSetHead(CAMVID11, THRESHOLDS).compute(net, Letterbox(INPUT).geometry(*INPUT), ALL_OUTPUTS)
    assert (result.panoptic == PANOPTIC_VOID).all()


def test_small_components_are_dropped_by_their_share_of_the_image(two_objects):
    thresholds = Thresholds(anomaly=0.5, refined=0.5, min_area=200 / (64 * 96))
    wanted = frozenset({Output.UNKNOWN_INSTANCES})
    result = OpenSetHead(CAMVID11, thresholds).compute(two_objects, Letterbox(INPUT).geometry(*INPUT), wanted)
    assert [i.area for i in result.instances] == [384]


def test_background_candidates_need_a_thing_like_mask():
    """The paper's mining: two holes in the known masks, a query overlaps one of them."""
    background = np.full(INPUT, 0.1, np.float32)
    background[8:16, 16:32] = 0.9
    background[24:40, 40:64] = 0.9
    thing = np.zeros((16, 24), bool)
    thing[6:10, 10:16] = True
    net = network_output(np.zeros(INPUT, np.float32), background, thing)
    head = OpenSetHead(CAMVID11, THRESHOLDS, Candidates.BACKGROUND)
    result = head.compute(net, Letterbox(INPUT).geometry(*INPUT), ALL_OUTPUTS)
    assert [i.bbox for i in result.instances] == [(40, 24, 64, 40)]
    assert not (result.open_set == 11).any()


def test_candidates_are_the_weaker_ones_and_change_nothing_else(two_objects):
    limits = Thresholds(anomaly=0.5, refined=0.8, extent=0.3, min_area=0.001)
    geometry = Letterbox(INPUT).geometry(100, 150)
    plain = OpenSetHead(CAMVID11, limits).compute(two_objects, geometry, ALL_OUTPUTS)
    held = OpenSetHead(CAMVID11, limits, low_threshold=0.5).compute(two_objects, geometry, ALL_OUTPUTS)
    for output in Output:
        np.testing.assert_array_equal(getattr(held, output.value), getattr(plain, output.value))
    assert [i.bbox for i in held.instances] == [i.bbox for i in plain.instances]
    assert (plain.candidates, plain.candidate_map) == ((), None)
    (weak,) = held.candidates
    assert weak.score == pytest.approx(0.6)
    check_instances(held.candidate_map, held.candidates)
    assert not (held.candidate_map * held.unknown_instances).any()


@pytest.mark.parametrize("low_threshold", [0.8, 1.0])
def test_without_a_lower_threshold_there_are_no_candidates(two_objects, low_threshold):
    limits = Thresholds(anomaly=0.5, refined=0.8, extent=0.3, min_area=0.001)
    head = OpenSetHead(CAMVID11, limits, low_threshold=low_threshold)
    assert head.compute(two_objects, Letterbox(INPUT).geometry(*INPUT), ALL_OUTPUTS).candidates == ()


def test_unknowns_are_mined_from_the_background_for_coco_panoptic_alone() -> None:
    assert Candidates.suiting(COCO_PANOPTIC133) is Candidates.BACKGROUND
    assert {Candidates.suiting(labels) for labels in (CAMVID11, CITYSCAPES19)} == {Candidates.ANOMALY}
