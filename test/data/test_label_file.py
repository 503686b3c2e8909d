"""Label sets as YAML files: what they hold, and what is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from m2a_core.errors import ConfigError
from m2a_core.labels.builtin import builtin
from m2a_core.labels.label_file import read_label_file

CLASSES = [{"name": "road", "id": 7, "color": [128, 64, 128], "thing": False}, {"name": "car", "id": 26, "thing": True}]
LETTERS = st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"])
OWN: dict[str, Any] = {"name": "own", "classes": CLASSES, "void": [255, 0], "road": "road"}


def write(path: Path, content: Any) -> Path:
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def test_a_label_set_and_the_values_of_its_label_maps(tmp_path: Path) -> None:
    found = read_label_file(write(tmp_path / "own.yaml", OWN))
    labels = found.labels
    assert (labels.name, labels.names, labels.things, labels.road) == ("own", ("road", "car"), {1}, 0)
    assert labels.colors == ((128, 64, 128), (0, 128, 0))
    stored = np.array([[7, 26, 255, 0]])
    assert found.values.decode(stored, "gt.png").tolist() == [[0, 1, 255, 255]]


def test_what_is_left_out_has_a_default(tmp_path: Path) -> None:
    found = read_label_file(write(tmp_path / "streets.yaml", {"classes": [{"name": "street", "id": 0}]}))
    assert (found.labels.name, found.labels.things, found.labels.road) == ("streets", frozenset(), None)
    assert found.values.void == {255}


@pytest.mark.slow
@given(
    names=st.lists(st.text(LETTERS, min_size=1, max_size=200).filter(str.strip), min_size=1, max_size=8, unique=True),
    data=st.data(),
)
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_names_ids_colours_and_kinds_come_back(tmp_path: Path, names: list[str], data: st.DataObject) -> None:
    count = len(names)
    ids = data.draw(st.lists(st.integers(-1, 65535), min_size=count, max_size=count, unique=True))
    colors = data.draw(st.lists(st.lists(st.integers(0, 255), min_size=3, max_size=3), min_size=count, max_size=count))
    things = data.draw(st.lists(st.booleans(), min_size=count, max_size=count))
    void = data.draw(st.integers(-1, 65535).filter(lambda value: value not in ids))
    entries = [
        {"name": n, "id": i, "color": c, "thing": t} for n, i, c, t in zip(names, ids, colors, things, strict=True)
    ]
    found = read_label_file(write(tmp_path / "a.yaml", {"classes": entries, "void": void}))
    assert found.labels.names == tuple(names)
    assert found.labels.colors == tuple(map(tuple, colors))
    assert found.labels.things == {i for i, thing in enumerate(things) if thing}
    assert found.values.ids == {value: i for i, value in enumerate(ids)}
    assert found.values.void == {void}


def changed(entry: int | None = None, **changes: Any) -> dict[str, Any]:
    if entry is None:
        return {**OWN, **changes}
    return {**OWN, "classes": [{**c, **(changes if i == entry else {})} for i, c in enumerate(CLASSES)]}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (changed(1, name="road"), "two classes have the name road"),
        (changed(1, name="Road "), "two classes have the name road and Road"),
        (changed(1, id=7), "two classes have the id 7"),
        (changed(1, id=255), "the id of class 'car' is also void"),
        (changed(1, id="26"), "id of class 'car' is '26'; expected an integer"),
        (changed(1, id=True), "id of class 'car' is True"),
        (changed(1, name=True), "class 2: name is True; expected text"),
        (changed(1, name=""), "class 2: name is ''"),
        (changed(1, name="car\x1b[2K\rroad"), r"class 2: name 'car\\x1b\[2K\\rroad': expected one line"),
        (changed(1, name="a\u2028b"), "class 2: name 'a.u2028b': expected one line"),
        (changed(1, name="x" * 201), "class 2: name 'x{80}...': expected one line of at most 200 characters"),
        (changed(name="own\n"), "name 'own.n': expected one line"),
        (changed(1, color=[1, 2]), r"class 'car': color is \[1, 2\]; expected \[red, green, blue\] of 0..255"),
        (changed(1, color=[1, 2, 256]), "class 'car': color is"),
        (changed(1, thing="yes"), "class 'car': thing is 'yes'; expected true or false"),
        (changed(1, colour=[1, 2, 3]), "class 2: unknown key 'colour'; expected some of color, from, id, name, thing"),
        (changed(classes=[]), r"'classes' is \[\]; expected a list of at least one class"),
        (changed(classes=[{"id": 7}]), "class 1: no 'name'"),
        (changed(1, id=2**24), "id of class 'car' is 16777216; expected -1 to"),
        (changed(1, **{"from": []}), "class 'car': 'from' is empty"),
        (changed(1, **{"from": [7]}), "two classes have the id 7: 'road' and 'car'"),
        (changed(void=[1.5]), "void is 1.5; expected an integer"),
        (changed(road="street"), "road is 'street'; expected one of road, car"),
        (changed(version=2), "unknown key 'version'"),
        ({}, "no 'classes'"),
        ([1], r"got \[1\]; expected keys"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, content: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=rf"own\.yaml: {said}"):
        read_label_file(write(tmp_path / "own.yaml", content))


@pytest.mark.parametrize("text", ["a: [", "\x00"])
def test_what_is_no_yaml_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "own.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"own\.yaml: not a readable YAML file"):
        read_label_file(tmp_path / "own.yaml")
    with pytest.raises(ConfigError, match=r"none\.yaml: not a readable YAML file"):
        read_label_file(tmp_path / "none.yaml")


def test_the_class_called_road_is_the_road_unless_the_file_says_otherwise(tmp_path: Path) -> None:
    without = {key: value for key, value in OWN.items() if key != "road"}
    assert read_label_file(write(tmp_path / "a.yaml", without)).labels.road == 0
    assert read_label_file(write(tmp_path / "b.yaml", {**without, "road": None})).labels.road is None
    assert read_label_file(write(tmp_path / "c.yaml", {**without, "road": "car"})).labels.road == 1


def test_a_class_of_several_takes_them_by_id_or_by_name(tmp_path: Path) -> None:
    content = {
        "classes": [
            {"name": "vehicle", "from": ["Car", 27], "thing": True},
            {"name": "sky"},
            {"name": "rest", "id": 4},
        ],
        "void": [255, "ego vehicle"],
    }
    found = read_label_file(write(tmp_path / "own.yaml", content))
    vocabulary = {"car": 26, "truck": 27, "sky": 23, "ego vehicle": 1}
    assert found.values_of(vocabulary).ids == {26: 0, 27: 0, 23: 1, 4: 2}
    assert found.values_of(vocabulary).void == {255, 1}
    assert found.by_name() == {"ego vehicle": 255, "car": 0, 27: 0, "sky": 1, "rest": 2}
    with pytest.raises(ConfigError, match="class 'vehicle' has the name 'Car' and no id; label maps hold ids"):
        _ = found.values
    with pytest.raises(ConfigError, match="class 'sky': the annotations have no class 'sky'; they have car, truck"):
        found.values_of({"car": 26, "truck": 27})
    with pytest.raises(ConfigError, match="classes 'vehicle' and 'sky' both take the value 27"):
        found.values_of({**vocabulary, "sky": 27})
    with pytest.raises(ConfigError, match="255, a value of class 'sky', is also void"):
        found.values_of({**vocabulary, "sky": 255})


@pytest.mark.parametrize("name", ["camvid11", "cityscapes19", "streethazards12", "coco_panoptic133"])
def test_the_label_sets_that_m2a_knows_are_such_files(name: str) -> None:
    labels = builtin(name)
    assert labels.name == name
    assert labels.num_classes == int("".join(filter(str.isdigit, name)))
    assert labels.road is not None
    assert labels.names[labels.road] == "road"
    assert labels.things
    assert labels.stuff
