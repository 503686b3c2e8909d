"""Clusters, duplicates, and the joining of bags."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m2a_core.harvest.clustering import Worth, fit, ranked
from m2a_core.harvest.duplicates import MAX_GAP_S, find_duplicates
from m2a_core.harvest.joining import join
from m2a_core.harvest.records import NO_CLUSTER, read_records, write_records
from test.harvest.harvests import record

SECOND = 1_000_000_000


def blobs(rng, counts, dimensions=8, spread=0.05):
    """Unit vectors around random directions, and the direction of each."""
    centres = rng.normal(size=(len(counts), dimensions))
    vectors = np.concatenate(
        [
            centre / np.linalg.norm(centre) + spread * rng.normal(size=(count, dimensions))
            for centre, count in zip(centres, counts, strict=True)
        ]
    )
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32), np.repeat(np.arange(len(counts)), counts)


def track(number, first_s, last_s, axis, **changes):
    return record(
        number,
        first_stamp_ns=round(first_s * SECOND),
        last_stamp_ns=round(last_s * SECOND),
        embedding=np.eye(4, dtype=np.float32)[axis],
        **changes,
    )


def test_what_lies_together_is_a_cluster_and_what_lies_alone_is_none():
    rng = np.random.default_rng(1)
    vectors, groups = blobs(rng, [20, 30, 25], spread=0.02)
    alone = rng.normal(size=(3, 8))
    vectors = np.concatenate([vectors, alone / np.linalg.norm(alone, axis=1, keepdims=True)]).astype(np.float32)
    fitted = fit(vectors)
    found = [set(fitted.clusters[:75][groups == group].tolist()) for group in range(3)]
    assert all(len(clusters - {NO_CLUSTER}) == 1 for clusters in found)
    assert len(set.union(*found) - {NO_CLUSTER}) == 3
    assert (fitted.clusters[75:] == NO_CLUSTER).all()


def test_block_that_tells_kinds_apart_counts_beside_one_that_is_larger():
    """The first block varies far more and says nothing; its numbers are no larger once they are standardised."""
    rng = np.random.default_rng(5)
    kinds = np.repeat(np.arange(3), 30)
    says_nothing = rng.normal(size=(90, 40)) * np.r_[20.0, np.ones(39)]
    tells = rng.normal(size=(3, 8))[kinds] * 0.2 + rng.normal(size=(90, 8)) * 0.02 + 1
    parts = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in (0.3 * says_nothing, tells)]
    vectors = np.concatenate([0.3 * parts[0], parts[1]], axis=1).astype(np.float32)
    fitted = fit(vectors[::2], blocks=(40, 8))
    clusters = np.full(90, NO_CLUSTER)
    clusters[::2], clusters[1::2] = fitted.clusters, fitted.assign(vectors[1::2])[0]
    found = [set(clusters[kinds == kind].tolist()) - {NO_CLUSTER} for kind in range(3)]
    assert [len(of) for of in found] == [1, 1, 1]
    assert len(set.union(*found)) == 3
    assert np.mean(clusters != NO_CLUSTER) > 0.9
    plain = fit(vectors[::2]).clusters
    assert [len(set(plain[kinds[::2] == kind].tolist()) - {NO_CLUSTER}) for kind in range(3)] != [1, 1, 1]


def linked_kinds():
    """Two kinds in six blocks, with a chain of records between them in each block: others in each."""
    rng = np.random.default_rng(8)
    parts = []
    for block in range(6):
        centres = rng.normal(size=(2, 6))
        part = centres[np.repeat([0, 1], 20)] + 0.25 * rng.normal(size=(40, 6))
        links = np.r_[block * 3 : block * 3 + 3, 20 + block * 3 : 23 + block * 3]
        part[links] = centres[0] + np.linspace(0.1, 0.9, 6)[:, None] * (centres[1] - centres[0])
        parts.append(part / np.linalg.norm(part, axis=1, keepdims=True))
    vectors = np.concatenate(parts, axis=1).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_kinds_that_a_few_records_link_are_apart():
    clusters = fit(linked_kinds(), blocks=(6,) * 6).clusters
    found = [set(clusters[kind * 20 : kind * 20 + 20].tolist()) - {NO_CLUSTER} for kind in (0, 1)]
    assert not found[0] & found[1]
    assert np.mean(clusters != NO_CLUSTER) > 0.8


def test_probability_says_how_often_a_record_is_with_the_others_of_its_cluster():
    vectors, groups = blobs(np.random.default_rng(3), [20, 20], spread=0.02)
    fitted = fit(vectors)
    assert (fitted.probabilities > 0.9).all()
    between = vectors[groups == 0].mean(axis=0) + vectors[groups == 1].mean(axis=0)
    odd = fit(np.concatenate([vectors, [between / np.linalg.norm(between)]]).astype(np.float32))
    assert odd.probabilities[-1] < fitted.probabilities.min()


def test_too_few_objects_are_no_cluster():
    assert set(fit(np.eye(4, dtype=np.float32)).clusters) == {NO_CLUSTER}
    assert len(fit(np.zeros((0, 4), np.float32)).clusters) == 0


def test_newcomers_join_the_cluster_they_lie_in_and_no_other():
    rng = np.random.default_rng(2)
    vectors, groups = blobs(rng, [60, 60, 60])
    fitted = fit(vectors[::2])
    numbers = {group: fitted.clusters[groups[::2] == group].max() for group in range(3)}
    clusters, probabilities = fitted.assign(vectors[1::2])
    joined = clusters != NO_CLUSTER
    assert joined.mean() > 0.8
    assert all(clusters[i] == numbers[groups[1::2][i]] for i in np.flatnonzero(joined))
    assert ((probabilities > 0.5) == joined).all()
    far = -vectors[:1]
    assert fitted.assign(far)[0].tolist() == [NO_CLUSTER]


def test_rank_goes_by_how_often_how_near_and_how_sure():
    base = Worth(10, 0.5, 0.5, 20.0)
    better = [
        dataclasses.replace(base, **change)
        for change in ({"objects": 11}, {"score": 0.6}, {"probability": 0.6}, {"distance": 10.0})
    ]
    assert all(one.rank > base.rank for one in better)
    assert ranked({7: base, 3: better[0], 5: base}) == {3: 0, 5: 1, 7: 2}


def test_track_that_goes_on_where_another_ended_is_its_duplicate():
    found = find_duplicates([track(2, 6, 7, 0), track(0, 0, 1, 0), track(1, 2, 5, 0)])
    assert found == {record(1).id: record(0).id, record(2).id: record(0).id}


@pytest.mark.parametrize(
    "later",
    [
        track(1, 2, 3, 1),
        track(1, 1 + MAX_GAP_S + 0.1, 9, 0),
        track(1, 0.5, 3, 0),
        track(1, 2, 3, 0, camera="rear"),
        track(1, 2, 3, 0, x=9.0, y=0.0, frame_id="odometry:/odom"),
    ],
    ids=["looks different", "long after", "seen at the same time", "other camera", "stands elsewhere"],
)
def test_other_objects_are_no_duplicates(later):
    earlier = track(0, 0, 1, 0, x=0.0, y=0.0, frame_id="odometry:/odom")
    assert find_duplicates([earlier, later]) == {}


def test_places_that_move_with_the_vehicle_do_not_tell_objects_apart():
    places = [{"x": 20.0, "y": 0.0, "frame_id": "base_link"}, {"x": 5.0, "y": 0.0, "frame_id": "base_link"}]
    assert find_duplicates([track(0, 0, 1, 0, **places[0]), track(1, 2, 3, 0, **places[1])])


def test_one_track_is_gone_on_with_by_one():
    found = find_duplicates([track(0, 0, 1, 0), track(1, 2, 4, 0), track(2, 2, 4, 0)])
    assert len(found) == 1


def fleet(seed: int, bags: int):
    """Records of several bags, by bag and id, with duplicates within bags."""
    rng = np.random.default_rng(seed)
    vectors, _ = blobs(rng, [12, 9, 10], spread=0.1)
    records = [
        record(int(n), bag=f"bag_{n % bags}", embedding=vector, score_mean=float(rng.uniform(0.5, 1)))
        for n, vector in enumerate(vectors)
    ]
    records = [
        dataclasses.replace(one, duplicate_of=records[n - bags].id) if n % 7 == 6 and n >= bags else one
        for n, one in enumerate(records)
    ]
    records = [dataclasses.replace(one, duplicate_of=None) if n % 7 != 6 else one for n, one in enumerate(records)]
    return [sorted((r for r in records if r.bag == f"bag_{b}"), key=lambda r: r.id) for b in range(bags)]


@pytest.mark.slow
@settings(max_examples=12, deadline=None)
@given(st.integers(0, 50), st.integers(1, 5), st.data())
def test_joined_bags_are_the_same_whatever_their_order_and_number_of_files(seed, bags, data):
    parts = fleet(seed, bags)
    whole = sorted((r for part in parts for r in part), key=lambda r: r.id)
    order = data.draw(st.permutations(range(bags)))
    with TemporaryDirectory() as name:
        folder = Path(name)
        one = folder / "one.parquet"
        write_records(one, whole)
        # File names that sort in the drawn order, and one bag twice.
        files = [folder / f"{place}.parquet" for place in order]
        for file, part in zip(files, parts, strict=True):
            write_records(file, part)
        alone = join(folder / "alone", [one])
        together = join(folder / "together", [*files, files[0]])
        assert together == alone
        assert (folder / "together" / "objects.parquet").read_bytes() == (
            folder / "alone" / "objects.parquet"
        ).read_bytes()


def test_duplicates_are_in_the_cluster_of_their_original(tmp_path):
    write_records(tmp_path / "a.parquet", sorted((r for part in fleet(3, 2) for r in part), key=lambda r: r.id))
    joined = join(tmp_path / "out", [tmp_path / "a.parquet"])
    found = {r.id: r for r in read_records(tmp_path / "out" / "objects.parquet")}
    duplicates = [r for r in found.values() if r.duplicate_of]
    assert joined.duplicates == len(duplicates) > 0
    assert joined.clusters > 0
    assert all(r.cluster == found[r.duplicate_of].cluster for r in duplicates)


def test_what_is_too_much_to_fit_joins_by_its_neighbours(tmp_path):
    rng = np.random.default_rng(4)
    vectors, groups = blobs(rng, [60, 50], spread=0.03)
    order = rng.permutation(len(vectors))
    write_records(tmp_path / "a.parquet", [record(n, embedding=vectors[i]) for n, i in enumerate(order)])
    joined = join(tmp_path / "out", [tmp_path / "a.parquet"], max_fitted=40)
    clusters = [r.cluster for r in read_records(tmp_path / "out" / "objects.parquet")]
    assert joined.clusters == 2
    of = [{c for c, i in zip(clusters, order, strict=True) if groups[i] == group} - {NO_CLUSTER} for group in (0, 1)]
    assert len(of[0]) == len(of[1]) == 1
    assert of[0] != of[1]
    assert joined.unclustered < 30


def test_rare_kinds_are_found_among_more_records_than_are_fitted_at_once(tmp_path):
    """Nine and ten of 130; of the 40 that are fitted first, three each."""
    rng = np.random.default_rng(6)
    vectors, groups = blobs(rng, [60, 51, 9, 10], spread=0.02)
    rare = [np.flatnonzero(groups == group) for group in (2, 3)]
    first = rng.permutation(
        np.r_[np.flatnonzero(groups == 0)[:18], np.flatnonzero(groups == 1)[:16], rare[0][:3], rare[1][:3]]
    )
    order = np.r_[first, rng.permutation(np.setdiff1d(np.arange(130), first))]
    write_records(tmp_path / "a.parquet", [record(n, embedding=vectors[i]) for n, i in enumerate(order)])
    joined = join(tmp_path / "out", [tmp_path / "a.parquet"], max_fitted=40)
    clusters = [r.cluster for r in read_records(tmp_path / "out" / "objects.parquet")]
    of = [{c for c, i in zip(clusters, order, strict=True) if groups[i] == group} - {NO_CLUSTER} for group in range(4)]
    assert [len(numbers) for numbers in of] == [1, 1, 1, 1]
    assert joined.clusters == len(set.union(*of)) == 4


def test_clusters_are_loose_whose_records_lie_farther_apart_than_others_do():
    rng = np.random.default_rng(9)
    first, _ = blobs(rng, [30, 30], dimensions=16, spread=0.02)
    dense, _ = blobs(rng, [9, 10], dimensions=16, spread=0.02)
    wide, _ = blobs(rng, [12, 12], dimensions=16, spread=0.12)
    later = fit(np.concatenate([dense, wide]))
    numbers = [set(later.clusters[part].tolist()) - {NO_CLUSTER} for part in (slice(0, 19), slice(19, 43))]
    assert len(numbers[0]) == len(numbers[1]) == 2
    assert fit(first).loose(np.concatenate([dense, wide]), later) == numbers[1]


def test_more_files_than_may_be_open_are_joined(tmp_path, monkeypatch):
    monkeypatch.setattr("m2a_core.harvest.joining.OPEN_FILES", 3)
    files = []
    for n in range(11):
        files.append(tmp_path / f"{n}.parquet")
        write_records(files[-1], [record(n)])
    assert join(tmp_path / "out", files).records == 11
    assert [r.track_id for r in read_records(tmp_path / "out" / "objects.parquet")] == list(range(1, 12))
    assert not (tmp_path / "out" / ".join").exists()
