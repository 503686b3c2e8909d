from __future__ import annotations

import json

import pytest

from m2a_core.errors import DataError
from m2a_core.harvest.choices import Choice, read_choices, valid_name
from test.harvest.harvests import record, write_harvest

PALLET = {"name": "pallet", "kind": "outlier"}


@pytest.fixture
def harvest(tmp_path):
    records = [
        record(0, cluster=0),
        record(1, cluster=0),
        record(2, cluster=1),
        record(3),
        record(4, cluster=1, duplicate_of=record(2).id),
    ]
    return write_harvest(tmp_path / "harvest", records)


def save(harvest, **changes):
    path = harvest.folder / "choices.json"
    path.write_text(json.dumps({"format": 1, "harvest": harvest.hash, "clusters": {}, "objects": {}} | changes))
    return path


def test_objects_go_before_their_clusters(harvest):
    choices = read_choices(
        save(
            harvest,
            clusters={"0": PALLET, "1": {"name": "road paint", "kind": "false_alarm"}},
            objects={
                record(1).id: {"name": "", "kind": "skip"},
                record(2).id: {"name": "Müll-Sack", "kind": "class"},
                record(3).id: PALLET,
            },
        ),
        harvest,
    )
    named = [choices.of(item) for item in harvest.records()]
    sack = Choice("Müll-Sack", "class")
    assert named == [Choice("pallet", "outlier"), None, sack, Choice("pallet", "outlier"), sack]


def test_nothing_chosen_names_nothing(harvest):
    choices = read_choices(save(harvest), harvest)
    assert [choices.of(item) for item in harvest.records()] == [None] * 5


def test_choices_of_another_harvest_are_refused_by_name(harvest, tmp_path):
    other = write_harvest(tmp_path / "other", [record(9, cluster=0)])
    path = save(other, clusters={"0": PALLET})
    with pytest.raises(DataError) as refused:
        read_choices(path, harvest)
    assert all(text in str(refused.value) for text in (str(path), other.hash, harvest.hash, str(harvest.folder)))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": 2}, "format 1"),
        ({"clusters": []}, "under 'clusters'"),
        ({"clusters": {"7": PALLET}}, "cluster '7' is not in"),
        ({"clusters": {"-1": PALLET}}, "cluster '-1' is not in"),
        ({"clusters": {"01": PALLET}}, "cluster '01' is not in"),
        ({"objects": {"abc": PALLET}}, "object 'abc' is not in"),
        ({"clusters": {"0": {"name": "x"}}}, "keys name and kind"),
        ({"clusters": {"0": "pallet"}}, "keys name and kind"),
        ({"clusters": {"0": {"name": "x", "kind": "skip"}}}, "kind 'skip'"),
        ({"clusters": {"0": {"name": "x", "kind": ["class"]}}}, "expected one of"),
        ({"clusters": {"0": {"name": "../../x", "kind": "class"}}}, "name '../../x'"),
        ({"clusters": {"0": {"name": 3, "kind": "class"}}}, "name '3'"),
    ],
)
def test_malformed_choices_are_named(harvest, changes, said):
    with pytest.raises(DataError, match=said):
        read_choices(save(harvest, **changes), harvest)


def test_file_that_is_no_json_is_named(harvest):
    path = harvest.folder / "choices.json"
    path.write_bytes(b"\xff{")
    with pytest.raises(DataError, match=r"choices\.json"):
        read_choices(path, harvest)
    path.unlink()
    with pytest.raises(DataError, match="no such file; choose and save in the gallery"):
        read_choices(path, harvest)


@pytest.mark.parametrize("name", ["pallet", "road paint", "Müll-Sack", "7up", "a_b", "x"])
def test_names_of_words_are_fine(name):
    assert valid_name(name)


@pytest.mark.parametrize(
    "name", ["", " ", "..", "a/b", "a\\b", "a.b", "-x", "_x", " x", "x ", "x" * 65, "a\nb", None, "a\0"]
)
def test_names_that_are_no_folder_are_refused(name):
    assert not valid_name(name)
