"""The gallery's page, the masking of people in it, and its server."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest
from markupsafe import escape

from m2a_core.errors import ConfigError, DataError
from m2a_core.harvest.blur import blur, blurred_classes
from m2a_core.harvest.folder import Harvest
from m2a_core.harvest.gallery import FIRST_SHOWN, MOST_SHOWN, picture, write_gallery
from m2a_core.harvest.server import gallery_server
from m2a_core.labels.builtin import CAMVID11
from test.harvest.harvests import record, write_harvest

CAR, PERSON, ROAD = (CAMVID11.names.index(name) for name in ("car", "pedestrian", "road"))


class Page(HTMLParser):
    """What a page holds: texts, attributes by element, and addresses that it would load."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append(data)

    def of(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def gallery(harvest, hidden=frozenset()):
    write_gallery(harvest, CAMVID11, hidden)
    return (harvest.folder / "gallery.html").read_text(encoding="utf-8")


def test_an_object_at_the_vehicle_itself_is_the_nearest(tmp_path):
    records = [record(n, cluster=0, distance_min_m=7.0 * n) for n in range(2)]
    assert "nearest 0.0 m" in gallery(write_harvest(tmp_path / "harvest", records))


def test_page_shows_clusters_in_order_and_loads_nothing(tmp_path):
    records = [record(n, cluster=[0, 0, 1, -1][n], distance_min_m=4.0 + n) for n in range(4)]
    page = Page(gallery(write_harvest(tmp_path / "harvest", records)))
    assert [a["data-cluster"] for a in page.of("article")] == ["0", "1"]
    shown = [(a["data-object"], a["data-cluster"]) for a in page.of("button") if "data-object" in a]
    assert sorted(shown[:2]) == [(record(0).id, "0"), (record(1).id, "0")]
    assert shown[2:] == [(record(2).id, "1"), (record(3).id, "-1")]
    sources = [a[key] for _, a in page.elements for key in ("src", "href") if a.get(key)]
    assert all(source.startswith(("data:", "#")) for source in sources)
    text = " ".join(" ".join(page.texts).split())
    assert "4 objects in 1 bag, 2 clusters" in text
    assert "2 objects in 1 bag, nearest 4.0 m" in text


def test_page_knows_its_harvest(tmp_path):
    harvest = write_harvest(tmp_path / "harvest", [record(0)])
    (facts,) = re.findall(r'id="facts">(.*?)</script>', gallery(harvest))
    assert json.loads(facts) == {"format": 1, "harvest": harvest.hash}


def test_names_from_bags_are_text_and_never_markup(tmp_path):
    evil = '</script><img src=x onerror="alert(1)">'
    text = gallery(write_harvest(tmp_path / "harvest", [record(0, bag=evil, camera="'\"><b>", cluster=0)]))
    assert evil not in text
    page = Page(text)
    assert not [a for a in page.of("img") if a.get("src") == "x"]
    (thing,) = [a for a in page.of("button") if "data-facts" in a]
    assert ["bag", evil] in json.loads(thing["data-facts"])
    assert str(escape(evil)) in text


def test_large_cluster_shows_some_at_once_more_after_a_click_and_names_the_rest(tmp_path):
    count = MOST_SHOWN + 3
    page = Page(gallery(write_harvest(tmp_path / "harvest", [record(n, cluster=0) for n in range(count)])))
    assert sum("data-object" in a for a in page.of("button")) == MOST_SHOWN
    assert sum("hidden" in a for a in page.of("li")) == MOST_SHOWN - FIRST_SHOWN
    assert "3 objects more in objects.parquet" in " ".join(" ".join(page.texts).split())


def test_duplicates_are_counted_and_not_shown(tmp_path):
    records = [record(0, cluster=0), record(1, cluster=0, duplicate_of=record(0).id)]
    page = Page(gallery(write_harvest(tmp_path / "harvest", records)))
    assert [a["data-object"] for a in page.of("button") if "data-object" in a] == [record(0).id]
    assert "1 more track of the same objects" in " ".join(" ".join(page.texts).split())


def test_harvest_of_nothing_says_so(tmp_path):
    assert "No clusters" in gallery(write_harvest(tmp_path / "harvest", []))


def test_damaged_picture_is_named(tmp_path):
    harvest = write_harvest(tmp_path / "harvest", [record(0)])
    (harvest.folder / record(0).crop).write_bytes(b"no image")
    with pytest.raises(DataError, match=re.escape(record(0).crop)):
        gallery(harvest)


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js to read the script")
def test_script_is_well_formed(tmp_path):
    text = gallery(write_harvest(tmp_path / "harvest", [record(0, cluster=0)]))
    (script,) = re.findall(r"<script>\n(\{.*?)</script>", text, re.S)
    (tmp_path / "page.js").write_text(script)
    assert subprocess.run(["node", "--check", str(tmp_path / "page.js")], check=False).returncode == 0


def test_groups_are_the_models_own_classes():
    assert blurred_classes(["people"], CAMVID11.names) == {PERSON, CAMVID11.names.index("bicyclist")}
    assert blurred_classes(["plates"], CAMVID11.names) == {CAR}
    assert blurred_classes(["road", "plates"], CAMVID11.names) == {CAR, ROAD}
    assert blurred_classes([], CAMVID11.names) == frozenset()
    assert blurred_classes(["Plates"], ["Car", "road", "TRUCK ", "bus"]) == {0, 2, 3}
    assert blurred_classes(["ROAD"], ["Car", "road"]) == {1}
    with pytest.raises(ConfigError, match="--blur faces: the model has no such class"):
        blurred_classes(["faces"], CAMVID11.names)


def test_only_the_class_and_its_rim_lose_their_detail():
    image = np.random.default_rng(0).integers(0, 256, (80, 100, 3), dtype=np.uint8)
    classes = np.full((80, 100), ROAD, np.uint8)
    classes[20:60, 30:50] = PERSON
    masked = blur(image, classes, frozenset({PERSON}))
    changed = (masked != image).any(axis=2)
    assert changed[20:60, 30:50].mean() > 0.99
    assert not changed[:, 60:].any()
    assert not changed[:10].any()
    # Six cells in each direction are all that is left.
    assert len(np.unique(masked[20:60, 30:50].reshape(-1, 3), axis=0)) <= 36
    assert blur(image, classes, frozenset({CAR})) is image


def test_people_are_masked_in_the_gallery_and_not_in_the_crops(tmp_path):
    one = record(0, classes=(f"crops/{record(0).id}_0_classes.png",))
    harvest = write_harvest(tmp_path / "harvest", [one])
    noise = np.random.default_rng(1).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    cv2.imwrite(str(harvest.folder / one.crop), noise)
    cv2.imwrite(str(harvest.folder / one.mask), np.full((60, 80), 255, np.uint8))
    cv2.imwrite(str(harvest.folder / one.classes[0]), np.full((60, 80), PERSON, np.uint8))
    before = (harvest.folder / one.crop).read_bytes()
    masked = picture(harvest, one, frozenset({PERSON}))
    assert len(np.unique(masked.reshape(-1, 3), axis=0)) <= 36
    text = gallery(harvest, frozenset({PERSON}))
    assert "Masked in these pictures" in text
    assert "pedestrian" in text
    assert (harvest.folder / one.crop).read_bytes() == before


def test_masking_without_class_ids_is_refused(tmp_path):
    harvest = write_harvest(tmp_path / "harvest", [record(0)])
    with pytest.raises(DataError, match="has no class ids"):
        gallery(harvest, frozenset({PERSON}))


def test_a_folder_without_a_harvest_names_the_command_that_makes_one(tmp_path):
    with pytest.raises(DataError, match=f"m2a harvest RESULTS --out {re.escape(str(tmp_path))}"):
        Harvest.open(tmp_path)


@pytest.fixture
def served(tmp_path):
    harvest = write_harvest(tmp_path / "harvest", [record(0, cluster=0)])
    write_gallery(harvest, CAMVID11)
    server = gallery_server(harvest.folder, 0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield harvest, server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join()


def ask(port, method, path, body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_server_shows_the_gallery_and_keeps_its_choices(served):
    harvest, port = served
    assert ask(port, "GET", "/") == (200, (harvest.folder / "gallery.html").read_bytes())
    assert ask(port, "GET", "/choices.json")[0] == 404
    choices = {"format": 1, "harvest": harvest.hash, "clusters": {"0": {"name": "pallet", "kind": "outlier"}}}
    body = json.dumps({**choices, "objects": {}})
    assert ask(port, "PUT", "/choices.json", body, **{"Content-Type": "application/json"})[0] == 204
    assert ask(port, "GET", "/choices.json") == (200, body.encode())


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        ("/choices.json", '{"format": 1, "harvest": "of another"}', {}, 400),
        ("/choices.json", "{", {}, 400),
        ("/choices.json", "{}", {"Content-Type": "text/plain"}, 403),
        ("/choices.json", "{}", {"Origin": "http://elsewhere.example"}, 403),
        ("/choices.json", "{}", {"Host": "elsewhere.example"}, 403),
        ("/../choices.json", "{}", {}, 403),
        ("/objects.parquet", "{}", {}, 403),
        ("/choices.json", None, {"Content-Length": "-1"}, 413),
        ("/choices.json", None, {"Content-Length": "\u00b2"}, 413),
        ("/choices.json", None, {"Content-Length": "9" * 5000}, 413),
        ("/choices.json", None, {"Content-Length": str((1 << 26) + 1)}, 413),
    ],
)
def test_server_takes_nothing_else(served, path, body, headers, status):
    harvest, port = served
    before = sorted(p.name for p in harvest.folder.iterdir())
    assert ask(port, "PUT", path, body, **{"Content-Type": "application/json", **headers})[0] == status
    assert sorted(p.name for p in harvest.folder.iterdir()) == before


def test_choices_that_are_saved_at_once_are_each_checked(served):
    harvest, port = served
    good = json.dumps({"format": 1, "harvest": harvest.hash, "clusters": {}, "objects": {}})
    bodies = [good, "{" * 10_000] * 20
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(
                lambda body: ask(port, "PUT", "/choices.json", body, **{"Content-Type": "application/json"})[0], bodies
            )
        )
    assert answers == [204, 400] * 20
    assert (harvest.folder / "choices.json").read_text() == good


def test_server_is_shown_in_no_frame_of_another_page(served):
    connection = http.client.HTTPConnection("127.0.0.1", served[1], timeout=20)
    connection.request("GET", "/")
    assert connection.getresponse().getheader("Content-Security-Policy") == "frame-ancestors 'none'"


@pytest.mark.parametrize("path", ["/objects.parquet", "/../../etc/passwd", "/%2e%2e/x", "/crops"])
def test_server_gives_nothing_else(served, path):
    assert ask(served[1], "GET", path)[0] == 404


@pytest.mark.parametrize("name", ["gallery.html", "choices.json"])
def test_server_gives_nothing_that_a_link_in_the_harvest_points_to(served, tmp_path, name):
    harvest, port = served
    (tmp_path / "secret").write_text("secret")
    (harvest.folder / name).unlink(missing_ok=True)
    (harvest.folder / name).symlink_to(tmp_path / "secret")
    assert ask(port, "GET", "/" if name == "gallery.html" else f"/{name}")[0] == 404


def test_port_in_use_is_named(served):
    with pytest.raises(ConfigError, match=f"--port {served[1]}"):
        gallery_server(served[0].folder, served[1])
