"""The composition of the demo clip: geometry, ground truth, determinism."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from m2a_core.compose.clip import load_clip, ping_pong, save_clip
from m2a_core.compose.composer import Sighting, compose_layers
from m2a_core.compose.egomotion import estimate_motion
from m2a_core.compose.ground import GroundCamera, Pose
from m2a_core.compose.paste import Cutout, Look, load_cutout
from m2a_core.errors import DataError

CAMERA = GroundCamera(640, 360, 580.0, (325.0, 185.0), 1.2, 0.03)
LOOK = Look(0.6, 110, 1.1, 0.8, 2.0, 0.7, (0.5, 0.3))
START = Pose()
DEMO = Path(__file__).parents[2] / "config" / "demo"


def homogeneous_projection(camera: GroundCamera, pose: Pose) -> np.ndarray:
    """3x4 matrix K [R | t] from the first frame's road axes, written from rotation matrices only."""
    k = np.array([[camera.focal, 0, camera.center[0]], [0, camera.focal, camera.center[1]], [0, 0, 1]])
    yaw, pitch = pose.yaw, camera.pitch + pose.pitch
    turn = np.array([[np.cos(yaw), 0, -np.sin(yaw)], [0, 1, 0], [np.sin(yaw), 0, np.cos(yaw)]])
    nod = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    flip = np.diag([1.0, -1.0, 1.0])  # height up -> optical y down
    rotation = nod @ flip @ turn
    eye = np.array([pose.x, camera.above_road, pose.z])
    return k @ np.hstack([rotation, (-rotation @ eye)[:, None]])


def square_cutout(position: tuple[float, float], height: float = 1.0) -> Cutout:
    rgba = np.full((64, 64, 4), 200.0, np.float32)
    rgba[..., 3] = 1.0
    return Cutout("square", rgba, position, (height, height))


def compose(cutouts: list[Cutout], pose: Pose = START, seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[Sighting]]:
    bonnet = np.zeros((360, 640), bool)
    bonnet[340:] = True
    image = np.full((360, 640, 3), 90, np.uint8)
    composed, truth, _, sightings = compose_layers(image, cutouts, CAMERA, pose, LOOK, bonnet, seed)
    return composed, truth, sightings


@pytest.mark.parametrize("pose", [Pose(), Pose(0.4, 3.0, 0.05, -0.01), Pose(-1.0, 8.0, -0.1, 0.02)])
def test_road_points_project_as_with_a_projection_matrix(pose: Pose) -> None:
    road = np.array([[-3.0, 20.0], [0.0, 15.0], [4.0, 40.0]])
    seen = pose.to_camera(road)
    got = CAMERA.project(np.column_stack([seen[:, 0], [0.0, 0.7, 0.0], seen[:, 1]]), pose.pitch)
    world = np.column_stack([road[:, 0], [0.0, 0.7, 0.0], road[:, 1], np.ones(3)])
    want = world @ homogeneous_projection(CAMERA, pose).T
    np.testing.assert_allclose(got[:, :2], want[:, :2] / want[:, 2:], rtol=1e-9)
    np.testing.assert_allclose(got[:, 2], want[:, 2], rtol=1e-9)


def test_to_road_inverts_project() -> None:
    road = np.array([[-3.0, 20.0], [0.5, 6.0], [4.0, 60.0]])
    pixels = CAMERA.project(np.column_stack([road[:, 0], np.zeros(3), road[:, 1]]), 0.004)[:, :2]
    np.testing.assert_allclose(CAMERA.to_road(pixels, 0.004), road, rtol=1e-9)


def test_moving_step_by_step_is_the_same_as_composing_rigid_motions() -> None:
    pose, matrix = Pose(), np.eye(3)
    for right, ahead, yaw in [(0.1, 1.2, 0.02), (-0.05, 1.1, -0.03), (0.0, 1.3, 0.01)]:
        pose = pose.moved(right, ahead, yaw, 0.0)
        c, s = np.cos(yaw), np.sin(yaw)
        matrix = matrix @ np.array([[c, s, right], [-s, c, ahead], [0, 0, 1]])
    point = np.array([[2.0, 30.0]])
    want = np.linalg.solve(matrix, np.array([2.0, 30.0, 1.0]))[:2]
    np.testing.assert_allclose(pose.to_camera(point)[0], want, rtol=1e-9)


def test_objects_stand_on_their_ground_point_and_grow_with_one_over_distance() -> None:
    heights, distances = [], []
    for ahead in (0.0, 5.0, 10.0):
        pose = Pose(z=ahead)
        _, truth, (sighting,) = compose([square_cutout((1.0, 20.0))], pose)
        want = np.array([1.0, 0.0, 20.0, 1.0]) @ homogeneous_projection(CAMERA, pose).T
        np.testing.assert_allclose(sighting.foot, want[:2] / want[2], atol=1e-3)
        x0, y0, x1, y1 = sighting.bbox
        assert abs(y1 - sighting.foot[1]) <= 1
        assert abs((x0 + x1) / 2 - sighting.foot[0]) <= 1
        assert (truth == 1).sum() == sighting.pixels
        heights.append(y1 - y0)
        distances.append(want[2])
    np.testing.assert_allclose(np.array(heights) * distances, CAMERA.focal * 1.0, rtol=0.05)


def test_near_objects_hide_far_ones_and_the_bonnet_hides_all() -> None:
    _, truth, sightings = compose([square_cutout((0.0, 7.0)), square_cutout((0.0, 20.0))])
    far, near = sightings[0], sightings[-1]
    assert near.ahead == 7.0
    assert sum(s.pixels for s in sightings) == (truth == 1).sum()
    assert far is near or far.pixels < near.pixels
    assert (truth[340:] == 255).all()
    _, _, covered = compose([square_cutout((0.0, 4.0))])
    assert covered == []


def test_the_rim_is_void_and_everything_else_known() -> None:
    image, truth, (sighting,) = compose([square_cutout((0.0, 10.0))])
    x0, y0, x1, y1 = sighting.bbox
    assert truth[(y0 + y1) // 2, (x0 + x1) // 2] == 1
    assert truth[y0 - 1, (x0 + x1) // 2] == 255
    assert truth[y0 - 8, (x0 + x1) // 2] == 0
    assert image[(y0 + y1) // 2, (x0 + x1) // 2].mean() > 150
    assert image[y1 + 1, (x0 + x1) // 2].mean() < 80, "a shadow lies at the foot"
    assert (image[:100] == 90).all(), "what has no object stays as it was"


def test_same_seed_same_frame() -> None:
    first, again, other = (compose([square_cutout((0.0, 9.0))], seed=s)[0] for s in (3, 3, 4))
    assert (first == again).all()
    assert (first != other).any()


def test_motion_is_found_on_a_road_of_known_motion() -> None:
    rng = np.random.default_rng(0)
    texture = cv2.GaussianBlur(rng.integers(0, 256, (1400, 600)).astype(np.float32), (0, 0), 1.5)
    texture = cv2.normalize(texture, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    # Texture pixels -> road metres: 20 px per metre, x from -15 m, z from 70 m backwards.
    to_metres = np.array([[1 / 20, 0, -15.0], [0, -1 / 20, 70.0], [0, 0, 1]])
    poses = [Pose()]
    for pitch in (0.001, -0.002, 0.0015, 0.0, -0.001):
        poses.append(poses[-1].moved(-0.02, 1.2, 0.0015, pitch))
    images = []
    for pose in poses:
        plane = homogeneous_projection(CAMERA, pose)[:, [0, 2, 3]]
        image = cv2.warpPerspective(texture, plane @ to_metres, (640, 360), flags=cv2.INTER_AREA)
        image[: int(CAMERA.horizon(pose.pitch)) + 20] = 128
        images.append(image)
    road = np.zeros((360, 640), np.uint8)
    cv2.fillPoly(road, [np.array([(0, 340), (230, 215), (420, 215), (639, 340)])], 255)
    found, speed = estimate_motion(images, CAMERA, road, 1.1)
    assert speed == pytest.approx(1.2, rel=0.01)
    assert found[-1].z == pytest.approx(poses[-1].z, rel=0.01)
    assert found[-1].x == pytest.approx(poses[-1].x, abs=0.03)
    assert found[-1].yaw == pytest.approx(poses[-1].yaw, abs=1e-3)
    np.testing.assert_allclose([p.pitch for p in found], [p.pitch for p in poses], atol=7e-4)


def test_a_road_without_texture_is_refused() -> None:
    blank = [np.full((360, 640), 90, np.uint8)] * 2
    with pytest.raises(DataError, match="frames 0 and 1.*road points"):
        estimate_motion(blank, CAMERA, np.full((360, 640), 255, np.uint8), 1.2)


def test_a_cutout_without_alpha_is_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "plain.png"), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(DataError, match="alpha"):
        load_cutout(tmp_path / "plain.png", "plain", (0, 10), 1.0, LOOK)


def test_cutouts_are_trimmed_and_keep_their_aspect(tmp_path: Path) -> None:
    rgba = np.zeros((50, 60, 4), np.uint8)
    rgba[10:40, 20:35] = (10, 200, 30, 255)
    cv2.imwrite(str(tmp_path / "a.png"), rgba)
    cutout = load_cutout(tmp_path / "a.png", "a", (0, 10), 2.0, LOOK)
    assert cutout.rgba.shape == (30, 15, 4)
    assert cutout.size == (pytest.approx(1.0), 2.0)
    assert cutout.rgba[..., 1].mean() > cutout.rgba[..., 0].mean(), "green stays green (RGB order)"


def test_a_saved_clip_is_loaded_as_it_was(tmp_path: Path) -> None:
    image, truth, sightings = compose([square_cutout((0.0, 10.0))])
    save_clip(tmp_path, 25.0, CAMERA, [Pose()], [(image, truth, sightings)], {"sources": {}})
    clip = load_clip(tmp_path)
    assert (len(clip), clip.frame_rate, clip.camera, clip.poses) == (1, 25.0, CAMERA, (Pose(),))
    assert (clip.truth(0) == truth).all()
    assert np.abs(clip.image(0).astype(int) - image).mean() < 2
    assert clip.sightings[0][0].bbox == sightings[0].bbox


@pytest.mark.parametrize(
    "text", ["format: 2\n", "format: 1\ncamera: {}\n", "[", "format: 1\ncamera: {center: [0, 0]}\n"]
)
def test_a_malformed_description_is_a_data_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "clip.yaml").write_text(text)
    with pytest.raises(DataError, match=r"clip\.yaml"):
        load_clip(tmp_path)


def test_a_missing_frame_is_named(tmp_path: Path) -> None:
    save_clip(
        tmp_path, 25.0, CAMERA, [Pose()], [(np.zeros((360, 640, 3), np.uint8), np.zeros((360, 640), np.uint8), [])], {}
    )
    (tmp_path / "frames" / "000.jpg").unlink()
    with pytest.raises(DataError, match=r"000\.jpg"):
        load_clip(tmp_path).image(0)


def test_ping_pong_goes_forth_and_back_without_repeating_the_ends() -> None:
    assert [ping_pong(4, i) for i in range(9)] == [0, 1, 2, 3, 2, 1, 0, 1, 2]
    assert [ping_pong(1, i) for i in range(3)] == [0, 0, 0]


def test_the_shipped_clip_is_whole_and_says_where_its_objects_are() -> None:
    clip = load_clip(DEMO)
    assert len(clip) == 38
    assert sum(f.stat().st_size for f in DEMO.rglob("*") if f.is_file()) < 8e6
    for i in range(0, len(clip), 6):
        truth = clip.truth(i)
        assert set(np.unique(truth)) == {0, 1, 255}
        assert len(clip.sightings[i]) >= 3
        assert sum(s.pixels for s in clip.sightings[i]) == (truth == 1).sum()
        for s in clip.sightings[i]:
            projected = clip.camera.project(np.array([[s.right, 0.0, s.ahead]]), clip.poses[i].pitch)[0]
            np.testing.assert_allclose(projected[:2], s.foot, atol=0.01)
            x0, y0, x1, y1 = s.bbox
            assert (truth[y0:y1, x0:x1] == 1).any()
