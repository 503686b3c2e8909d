"""What import-linter's contracts (``make lint``) cannot say: calls in the source, and what a running process loads."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from test.tiny_bundle import write_tiny_bundle

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"torch", "onnx", "onnxscript", "safetensors", "transformers", "scipy", "sklearn", "matplotlib"}
ROS = {
    "rclpy",
    "launch",
    "launch_ros",
    "ament_index_python",
    "builtin_interfaces",
    "diagnostic_msgs",
    "geometry_msgs",
    "lifecycle_msgs",
    "rcl_interfaces",
    "sensor_msgs",
    "std_msgs",
    "visualization_msgs",
}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_name(p): p for package in ("m2a_core", "m2a_ros") for p in sorted((ROOT / package).rglob("*.py"))}


def imported_names(tree: ast.AST, module: str, is_package: bool) -> Iterator[str]:
    """Dotted names of every import, at any depth, but those for type checkers only."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = module.split(".")
            if node.level:
                base = base[: len(base) - node.level + is_package]
            prefix = ".".join([*(base if node.level else []), *([node.module] if node.module else [])])
            yield prefix
            yield from (f"{prefix}.{alias.name}" for alias in node.names)
        else:
            yield from imported_names(node, module, is_package)


@cache
def nodes_of(module: str) -> tuple[ast.AST, ...]:
    """The module itself, then all that is in it."""
    return tuple(ast.walk(ast.parse(SOURCES[module].read_text(encoding="utf-8"))))


def imports_of(module: str) -> set[str]:
    return set(imported_names(nodes_of(module)[0], module, SOURCES[module].name == "__init__.py"))


def top_level(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


CORE = sorted(module for module in SOURCES if module.startswith("m2a_core"))


def test_the_source_tree_was_found():
    assert len(CORE) > 20


@pytest.mark.parametrize("module", ["m2a_core.errors", "m2a_core.types", "m2a_core.labels.label_set"])
def test_contracts_need_only_numpy_and_yaml(module):
    assert top_level(imports_of(module)) - set(sys.stdlib_module_names) <= {"numpy", "yaml", "m2a_core"}


@pytest.mark.slow
def test_tensorrt_stays_behind_its_own_runtime():
    allowed = ("m2a_core.trt", "m2a_core.runtime.trt_runtime")
    assert [m for m in SOURCES if not m.startswith(allowed) and "tensorrt" in top_level(imports_of(m))] == []


@pytest.mark.slow
def test_core_reads_the_environment_only_in_the_command_line():
    offenders = []
    for module in CORE:
        if module.startswith("m2a_core.cli"):
            continue
        for node in nodes_of(module):
            if isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv", "getenvb"):
                offenders.append(module)
    assert offenders == []


@pytest.mark.slow
def test_nothing_unpickles_foreign_data():
    """A subclass of Unpickler that admits named types only is allowed; the plain readers are not."""
    forbidden = {
        f"{m}.{f}" for m in ("pickle", "dill", "cloudpickle", "joblib") for f in ("load", "loads", "Unpickler")
    }
    offenders = []
    for module in SOURCES:
        for node in nodes_of(module):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            arguments = {
                k.arg: ast.unparse(k.value) for k in node.keywords if k.arg in ("weights_only", "allow_pickle")
            }
            if (
                called in forbidden
                or (called == "torch.load" and arguments.get("weights_only") != "True")
                or arguments.get("allow_pickle") == "True"
            ):
                offenders.append(f"{module}: {ast.unparse(node)}")
    assert offenders == []


@pytest.mark.slow
def test_predicting_leaves_torch_unimported(tmp_path):
    bundle = write_tiny_bundle(tmp_path / "tiny")
    program = (
        "import sys, numpy, cv2\n"
        "from m2a_core.cli.main import main\n"
        "cv2.imwrite(sys.argv[1] + '/a.png', numpy.zeros((96, 128, 3), numpy.uint8))\n"
        "code = main(['predict', sys.argv[1] + '/a.png', '--model', sys.argv[2], '--out', sys.argv[1], '--raw'])\n"
        "import m2a_core.perception\n"
        f"print('code', code, 'heavy', sorted({HEAVY | ROS!r} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), str(bundle)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "code 0 heavy []"
