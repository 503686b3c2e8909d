"""The gallery as a person uses it: in Chromium, from a file and from its server, and its choices exported."""

from __future__ import annotations

import json
import shutil
import threading

import pytest

from m2a_core.harvest.gallery import FIRST_SHOWN, write_gallery
from m2a_core.harvest.server import gallery_server
from m2a_core.labels.builtin import CAMVID11
from m2a_ros.main import main
from test.harvest.sightings import make_harvest, sighting

api = pytest.importorskip("playwright.sync_api", reason="needs m2a's extra [browser]")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
WIDE, NARROW = {"width": 1400, "height": 900}, {"width": 400, "height": 800}


@pytest.fixture(scope="module")
def chromium():
    with api.sync_playwright() as playwright:
        # Chromium's own sandbox does not start as root, and the page is ours.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(chromium):
    """A page of its own; errors of its script fail the test."""
    context = chromium.new_context(viewport=WIDE, accept_downloads=True)
    page, errors = context.new_page(), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.set_default_timeout(10_000)
    yield page
    context.close()
    assert errors == []


@pytest.fixture
def harvest(tmp_path):
    """Three clusters, the first of more objects than are shown at once, and one object in none."""
    clusters = [0] * (FIRST_SHOWN + 2) + [1, 1, 2, 2, -1]
    records = [sighting(n, cluster=cluster, bag=f"drive_{n % 3}") for n, cluster in enumerate(clusters)]
    made = make_harvest(tmp_path / "harvest", records)
    write_gallery(made, CAMVID11)
    return made


@pytest.fixture
def file_page(page, harvest):
    page.goto((harvest.folder / "gallery.html").as_uri())
    return page


@pytest.fixture
def server(harvest):
    served = gallery_server(harvest.folder, 0)
    thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{served.server_address[1]}/"
    served.shutdown()
    served.server_close()
    thread.join()


def name_cluster(page, number, kind, name=None):
    page.get_by_label(f"What cluster {number} is").select_option(kind)
    if name is not None:
        page.get_by_label(f"Name of cluster {number}").fill(name)


def look_at(page, record):
    page.locator(f"[data-object='{record}']").click()
    return page.get_by_role("dialog")


def save(page, path):
    with page.expect_download() as download:
        page.get_by_role("button", name="Save choices.json").click()
    download.value.save_as(path)
    return json.loads(path.read_text(encoding="utf-8"))


def test_what_is_clicked_and_saved_becomes_training_data(file_page, harvest, tmp_path):
    name_cluster(file_page, 0, "outlier", "pallet")
    name_cluster(file_page, 1, "false_alarm")
    name_cluster(file_page, 2, "class", "scooter")
    closer = look_at(file_page, sighting(5).id)
    closer.get_by_label("What this object is").select_option("skip")
    file_page.keyboard.press("Escape")
    closer = look_at(file_page, sighting(FIRST_SHOWN + 6).id)
    closer.get_by_label("What this object is").select_option("outlier")
    closer.get_by_label("Name of this object").fill("tyre")
    closer.get_by_role("button", name="Close").click()
    assert "3 clusters and 2 single objects decided" in file_page.get_by_role("status").inner_text()
    choices = save(file_page, tmp_path / "choices.json")
    assert choices["harvest"] == harvest.hash
    assert choices["clusters"] == {
        "0": {"name": "pallet", "kind": "outlier"},
        "1": {"name": "false alarm", "kind": "false_alarm"},
        "2": {"name": "scooter", "kind": "class"},
    }
    out = tmp_path / "out"
    choices_file = str(tmp_path / "choices.json")
    assert main(["harvest", "export", str(harvest.folder), "--choices", choices_file, "--out", str(out)]) == 0
    named = {entry["name"]: entry["objects"] for entry in json.loads((out / "export.json").read_text())["names"]}
    assert named == {"pallet": FIRST_SHOWN + 1, "false alarm": 2, "scooter": 2, "tyre": 1}


def test_names_that_training_could_not_use_are_shown_and_not_saved(file_page, tmp_path):
    name_cluster(file_page, 0, "outlier", "a/b")
    name_cluster(file_page, 1, "outlier", "")
    assert "2 lack a name or a kind and are not saved" in file_page.get_by_role("status").inner_text()
    assert save(file_page, tmp_path / "choices.json")["clusters"] == {}


def test_choices_outlast_a_reload_and_are_taken_from_a_file(file_page, harvest, tmp_path):
    name_cluster(file_page, 0, "outlier", "pallet")
    save(file_page, tmp_path / "choices.json")
    file_page.reload()
    assert file_page.get_by_label("Name of cluster 0").input_value() == "pallet"
    file_page.evaluate("localStorage.clear()")
    file_page.reload()
    assert file_page.get_by_label("Name of cluster 0").input_value() == ""
    file_page.locator("#load").set_input_files(tmp_path / "choices.json")
    api.expect(file_page.get_by_label("Name of cluster 0")).to_have_value("pallet")
    other = json.loads((tmp_path / "choices.json").read_text()) | {"harvest": "0" * 64}
    (tmp_path / "other.json").write_text(json.dumps(other))
    file_page.locator("#load").set_input_files(tmp_path / "other.json")
    api.expect(file_page.get_by_role("status")).to_have_text("These choices are of another harvest.")
    assert file_page.get_by_label("Name of cluster 0").input_value() == "pallet"


def test_more_pictures_come_with_a_click(file_page):
    shown = file_page.locator("[data-cluster='0'] .thing:visible")
    assert shown.count() == FIRST_SHOWN
    file_page.get_by_role("button", name="Show 2 more").click()
    assert shown.count() == FIRST_SHOWN + 2


def test_served_gallery_saves_in_the_folder_and_shows_it_again(page, server, harvest):
    page.goto(server)
    name_cluster(page, 1, "outlier", "cone")
    page.get_by_role("button", name="Save choices.json").click()
    api.expect(page.get_by_role("status")).to_have_text("Saved choices.json in the harvest's folder.")
    saved = json.loads((harvest.folder / "choices.json").read_text())
    assert saved["clusters"] == {"1": {"name": "cone", "kind": "outlier"}}
    page.evaluate("localStorage.clear()")
    page.reload()
    api.expect(page.get_by_label("Name of cluster 1")).to_have_value("cone")


def test_keyboard_alone_names_a_cluster(file_page):
    file_page.get_by_label("What cluster 0 is").focus()
    file_page.keyboard.press("ArrowDown")
    file_page.keyboard.press("Tab")
    file_page.keyboard.type("pallet")
    assert "1 cluster and 0 single objects decided" in file_page.get_by_role("status").inner_text()


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["1400", "400"])
def test_nothing_sticks_out_of_the_window(file_page, size):
    file_page.set_viewport_size(size)
    assert file_page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    file_page.mouse.wheel(0, 500)
    api.expect(file_page.get_by_role("button", name="Save choices.json")).to_be_in_viewport(ratio=1)
    closer = look_at(file_page, sighting(5).id)
    box = closer.bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= size["width"]
    assert box["y"] + box["height"] <= size["height"]
    assert closer.evaluate("node => node.scrollWidth <= node.clientWidth")
    for control in (closer.get_by_label("What this object is"), closer.get_by_label("Name of this object")):
        control.scroll_into_view_if_needed()
        inner = control.bounding_box()
        assert inner["x"] >= box["x"]
        assert inner["x"] + inner["width"] <= box["x"] + box["width"]
