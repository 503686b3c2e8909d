"""Every example runs as its first line says."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import cv2
import pytest
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from std_msgs.msg import Float64
from visualization_msgs.msg import Marker, MarkerArray

from test.packaging.conftest import ROOT
from test.ros.harness import environment, own_domain
from test.tiny_bundle import write_tiny_bundle

EXAMPLES = ROOT / "examples"
FRAMES = ROOT / "config" / "demo" / "frames"


def run(folder: Path, name: str | Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXAMPLES / name), *map(str, arguments)]
    env = {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "WAYLAND_DISPLAY")}
    env |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "2"}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four frames of the clip, small."""
    path = tmp_path_factory.mktemp("video") / "drive.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (640, 360))
    for file in sorted(FRAMES.glob("*.jpg"))[:4]:
        writer.write(cv2.resize(cv2.imread(str(file)), (640, 360), interpolation=cv2.INTER_AREA))
    writer.release()
    return path


def test_the_list_names_every_example():
    listed = set(re.findall(r"\]\((\w+\.py)\)", (EXAMPLES / "README.md").read_text(encoding="utf-8")))
    assert listed == {path.name for path in EXAMPLES.glob("*.py")}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["python_api.py", "custom_score.py", "custom_dataset.py", "video_file.py"])
def test_an_example_without_arguments_says_how_it_is_run(tmp_path, name):
    done = run(tmp_path, name)
    assert done.returncode == 1
    assert f"python examples/{name}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_python_api(tmp_path):
    done = run(tmp_path, "python_api.py", FRAMES / "004.jpg")
    assert done.returncode == 0, done.stderr
    assert "unknown object 1: score" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["maps.npz", "overlay.jpg"]


@pytest.mark.slow
def test_custom_score(tmp_path):
    done = run(tmp_path, "custom_score.py", FRAMES / "004.jpg")
    assert (done.returncode, done.stderr) == (0, "")
    assert 0.5 < float(done.stdout.split()[-1]) < 1
    assert cv2.imread(str(tmp_path / "my_score.png")).shape == cv2.imread(str(FRAMES / "004.jpg")).shape


@pytest.mark.slow
def test_video_file(tmp_path, video):
    done = run(tmp_path, "video_file.py", video)
    assert done.returncode == 0, done.stderr
    assert re.search(r"object \d+ was seen in [1-4] frames", done.stdout)


@pytest.mark.slow
def test_webcam_with_a_file_in_the_camera_s_place(tmp_path, video):
    done = run(tmp_path, "webcam.py", video, 2)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("2 frames, ")
    assert (tmp_path / "webcam.jpg").is_file()


@pytest.mark.slow
def test_custom_dataset_of_pictures_of_any_format(tmp_path):
    images, truth = tmp_path / "images", tmp_path / "truth"
    images.mkdir()
    truth.mkdir()
    masks = sorted((ROOT / "config" / "demo" / "truth").glob("*.png"))[:2]
    for mask, suffix in zip(masks, (".PNG", ".jpeg"), strict=True):
        (truth / mask.name).write_bytes(mask.read_bytes())
        cv2.imwrite(str(images / f"{mask.stem}{suffix}"), cv2.imread(str(FRAMES / f"{mask.stem}.jpg")))
    done = run(tmp_path, "custom_dataset.py", images, truth)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"2 frames: AuPRC [\d.]+ %, FPR95 [\d.]+ %\n", done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("masks", [[], ["0001.png"]], ids=["none", "of another name"])
def test_custom_dataset_names_what_it_expects(tmp_path, masks):
    for name in masks:
        (tmp_path / name).write_bytes((ROOT / "config" / "demo" / "truth" / "004.png").read_bytes())
    done = run(tmp_path, "custom_dataset.py", FRAMES, tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert str(FRAMES) in done.stderr


@pytest.mark.slow
def test_readme_s_lines_of_python(tmp_path):
    (lines,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
    (tmp_path / "lines.py").write_text(lines, encoding="utf-8")
    (tmp_path / "photo.jpg").write_bytes((FRAMES / "004.jpg").read_bytes())
    done = run(tmp_path, tmp_path / "lines.py")
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"(\d+ 0\.\d+ \(\d+, \d+, \d+, \d+\)\n)+", done.stdout)
    assert (tmp_path / "overlay.jpg").is_file()


def test_tensorrt_alone_on_a_fake_tensorrt_over_a_fake_cuda(tmp_path, monkeypatch, capsys):
    bindings = pytest.importorskip("cuda.bindings", reason="needs cuda-python")
    from test.runtime.fake_cuda import FakeCuda
    from test.runtime.fake_trt import FakeBackend, FakeContext, FakeEngine

    class Context(FakeContext):
        def __init__(self, engine: FakeEngine) -> None:
            super().__init__(engine)
            self.profile, self.scratch = 0, (0, 0)

        def get_tensor_shape(self, name: str) -> tuple[int, ...]:
            return (1, *self.engine.get_tensor_shape(name)[1:])

    graph = (write_tiny_bundle(tmp_path / "tiny") / "tiny.onnx").read_bytes()
    cuda, loaded = FakeCuda(), []
    engine = FakeEngine(graph, cuda, {})
    monkeypatch.setattr(engine, "create_execution_context", lambda: Context(engine), raising=False)
    trt = FakeBackend(graph, cuda, {}).trt
    trt.Logger = lambda level: level
    trt.Logger.WARNING = 0
    trt.Runtime = lambda logger: SimpleNamespace(deserialize_cuda_engine=lambda data: engine)
    trt.get_plugin_registry = lambda: SimpleNamespace(load_library=loaded.append)
    monkeypatch.setitem(sys.modules, "tensorrt", trt)
    monkeypatch.setattr(bindings, "runtime", cuda, raising=False)
    (tmp_path / "x.engine").write_bytes(b"an engine")
    program = str(EXAMPLES / "tensorrt_standalone.py")
    monkeypatch.setattr(sys, "argv", [program, str(tmp_path / "x.engine"), "plugin.so", str(FRAMES / "004.jpg")])
    runpy.run_path(program, run_name="__main__")
    assert loaded == ["plugin.so"]
    assert re.fullmatch(r"B \(Eq\. 17\), 1280x720: 0\.\d+ to (1\.00|0\.\d+)\n", capsys.readouterr().out)


def test_tensorrt_alone_says_what_it_needs_where_there_is_none(tmp_path):
    done = run(tmp_path, "tensorrt_standalone.py", "x.engine", "plugin.so", FRAMES / "004.jpg")
    if "needs TensorRT" not in done.stderr:
        pytest.skip("TensorRT is installed here; no engine to run it with")
    assert done.returncode == 1


def marker(kind: str, x: float, y: float) -> Marker:
    found = Marker(ns=f"front/{kind}", action=Marker.ADD)
    found.pose.position.x, found.pose.position.y = x, y
    return found


@pytest.mark.dds
def test_the_planner_brakes_for_what_is_in_its_lane_and_when_m2a_is_silent():
    with own_domain() as domain:
        context = Context()
        rclpy.init(context=context, domain_id=domain)
        node = rclpy.create_node("m2a_stand_in", context=context)
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)
        limits: list[float] = []
        node.create_subscription(Float64, "/planner/speed_limit", lambda message: limits.append(message.data), 1)
        markers = node.create_publisher(MarkerArray, "/m2a/output/front/unknown_markers", 1)
        command = [sys.executable, str(EXAMPLES / "planner_node.py"), "--ros-args", "-p", "timeout:=0.5"]
        planner = subprocess.Popen(command, env=environment(domain))

        def wait_for(limit: float, message: MarkerArray | None) -> None:
            end = time.monotonic() + 60
            while not limits or abs(limits[-1] - limit) > 1e-6:
                assert time.monotonic() < end, f"expected {limit}, got {limits[-5:]}"
                if message is not None:
                    markers.publish(message)
                executor.spin_once(timeout_sec=0.05)

        try:
            far_left = marker("footprint", 8.0, 6.0)
            wait_for(0.0, None)
            wait_for(15.0, MarkerArray(markers=[far_left]))
            in_lane = [marker("footprint", 30.0, 0.5), marker("footprint", 13.0, -1.0), marker("label", 6.0, 0.0)]
            wait_for(8.0, MarkerArray(markers=[far_left, *in_lane]))  # sqrt(2 * 4 * (13 - 5))
            wait_for(0.0, None)
        finally:
            planner.terminate()
            planner.wait(30)
            executor.shutdown()
            node.destroy_node()
            context.shutdown()
