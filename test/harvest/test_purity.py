"""The benchmark of a harvest's purity, on bags of its own making with a bundle that sees plain colours."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from benchmarks.harvest_purity import FALSE_ALARM, kind_of, over_parts, purity
from m2a_core.harvest.records import NO_CLUSTER
from test.harvest.harvests import record

coco = pytest.importorskip("pycocotools.mask")


def test_share_counts_objects_in_pure_clusters_alone():
    held = [(0, "box")] * 8 + [(0, FALSE_ALARM)] * 2 + [(1, "box"), (1, "ball")] + [(2, FALSE_ALARM)] * 3
    found = purity([*held, (NO_CLUSTER, "ball"), (NO_CLUSTER, FALSE_ALARM)])
    assert found.share == pytest.approx(8 / 11)
    assert (found.objects, found.false_alarms) == (11, 6)


def test_clusters_are_counted_and_measured_beside_what_is_in_none():
    held = [(0, "box")] * 6 + [(1, "ball"), (1, FALSE_ALARM)]
    found = purity([*held, (NO_CLUSTER, "ball"), (NO_CLUSTER, FALSE_ALARM)])
    assert (found.count, found.size) == (2, 4.0)
    assert found.left == pytest.approx(1 / 8)


def test_random_parts_are_clustered_anew_and_take_duplicates_along():
    rng = np.random.default_rng(2)
    records = [
        record(n, embedding=np.eye(4, dtype=np.float32)[n % 2] + rng.normal(0, 0.02, 4).astype(np.float32))
        for n in range(40)
    ]
    records.append(record(40, duplicate_of=records[0].id))
    kinds = {one.id: ("box", "ball")[one.track_id % 2] for one in records} | {records[-1].id: FALSE_ALARM}
    parts = list(over_parts(records, kinds, 3))
    assert [found.objects for found in parts] == [34, 34, 34]
    assert all(found.false_alarms <= 1 for found in parts)
    assert all(found.count == 2 and found.share == 1.0 for found in parts)


def test_one_false_alarm_too_many_makes_a_cluster_impure():
    assert purity([(0, "box")] * 7 + [(0, FALSE_ALARM)] * 2).share == 0.0


@pytest.mark.parametrize(("covered", "kind"), [(6, "ball"), (5, "ball"), (4, FALSE_ALARM), (0, FALSE_ALARM)])
def test_record_is_what_covers_half_of_its_mask(tmp_path, covered, kind):
    mask = np.zeros((48, 64), np.uint8, order="F")
    mask[0, :10] = 1
    one = record(0, full_mask=coco.encode(mask)["counts"].decode())
    ids = np.zeros((48, 64), np.uint16)
    ids[0, :covered] = 2
    (tmp_path / "drive_0" / "truth").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "drive_0" / "truth" / f"{one.best_stamp_ns}.png"), ids)
    (tmp_path / "drive_0" / "kinds.json").write_text(json.dumps({"1": "box", "2": "ball"}))
    assert kind_of(one, tmp_path) == kind
