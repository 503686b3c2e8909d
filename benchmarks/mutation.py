"""Change one room's code in small ways, one at a time, and count the changes that the tests notice: `make mutation`.

mutmut makes the mutants and runs, for each, the tests that call the changed function. Where there are more mutants
than `--sample`, a sample drawn with `--seed` stands for all. Texts of errors (lines that begin with `raise`) are left
alone: tests compare what a message names, not its words. The result, survivors with their changes included, lies in
`build/mutation/ROOM/result.json`.

    python -m benchmarks.mutation metrics --sample 200
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import asdict, dataclass
from math import sqrt
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
_COPIED = ("m2a_core", "m2a_ros", "test", "config", "engines", "launch", "benchmarks")
_CONFIGURATION = """
[tool.mutmut]
source_paths = ["m2a_core", "m2a_ros"]
only_mutate = [{patterns}]
also_copy = ["config", "engines", "launch", "benchmarks", "setup.cfg"]
do_not_mutate_patterns = ['^\\s*raise\\b']
pytest_add_cli_args = ["-p", "no:cacheprovider"]
pytest_add_cli_args_test_selection = [{tests}]
process_isolation = "forkserver"
timeout_constant = 10.0
use_git_change_detection = false
"""
_NOTICED = ("killed", "timeout", "segfault")


@dataclass(frozen=True)
class Room:
    """Files whose code is changed, and the tests that should notice."""

    code: tuple[str, ...]
    tests: tuple[str, ...]


def _room(code: str, tests: str) -> Room:
    """Of words: patterns of code, and folders or files below `test`, the latter without their ending."""
    paths = (f"test/{each}" + (".py" if "/" in each else "") for each in tests.split())
    return Room(tuple(code.split()), tuple(paths))


ROOMS = {
    "openset": _room("m2a_core/openset/*", "openset stream runtime/test_perception runtime/test_horizon"),
    "metrics": _room("m2a_core/metrics/*", "metrics runtime/test_parity"),
    "geometry": _room(
        "m2a_core/geometry/*",
        "stream runtime/test_horizon core/test_yaml_file openset/test_head cli/test_predict_video ros/test_lens "
        "ros/test_projection ros/test_image_geometry ros/test_depth ros/test_camera_settings ros/test_markers "
        "ros/test_detections ros/test_extrinsics",
    ),
    "tracking": _room(
        "m2a_core/tracking/*", "stream openset/test_tracking openset/test_track_ids runtime/test_perception"
    ),
    "conversions": _room(
        "m2a_ros/images/* m2a_core/preprocess.py m2a_core/resize.py",
        "core/test_preprocess ros/test_conversions ros/test_cv_bridge_compat ros/test_cv_bridge_contract "
        "ros/test_decoding ros/test_compressed_format ros/test_display ros/test_image_buffer "
        "ros/test_serialized_images",
    ),
    "stream": _room(
        "m2a_core/stream/*", "stream cli/test_predict_video ros/test_depth ros/test_detections ros/test_markers"
    ),
}


def main() -> None:
    """Run one room and print its score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("room", choices=ROOMS)
    parser.add_argument("--sample", type=int, default=300, metavar="N", help="mutants at most (300); 0: all")
    parser.add_argument("--seed", type=int, default=24, help="of the sample (24)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="mutants at a time (all cores)")
    arguments = parser.parse_args()
    folder = _ROOT / "build" / "mutation" / arguments.room
    _lay_out(folder, ROOMS[arguments.room])
    _mutmut(folder, "run", "--max-children", str(arguments.jobs), "no such mutant")
    if not (folder / "mutants" / "mutmut-stats.json").is_file():
        sys.exit(f"mutmut: a test fails without any mutant; run the room's tests in {folder / 'mutants'} to see which")
    mutants = sorted(_results(folder))
    if not mutants:
        sys.exit("mutmut made no mutants: its words stand above")
    sample = mutants
    if 0 < arguments.sample < len(mutants):
        sample = sorted(random.Random(arguments.seed).sample(mutants, arguments.sample))
    _mutmut(folder, "run", "--max-children", str(arguments.jobs), *sample)
    _report(folder, arguments.room, sample, len(mutants), arguments.seed)


def _lay_out(folder: Path, room: Room) -> None:
    """A copy of the code, because mutmut writes beside what it changes."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    ignore = shutil.ignore_patterns("__pycache__")
    for name in _COPIED:
        shutil.copytree(_ROOT / name, folder / name, ignore=ignore)
    shutil.copy(_ROOT / "setup.cfg", folder)
    patterns = ", ".join(json.dumps(each) for each in room.code)
    tests = ", ".join(json.dumps(each) for each in room.tests)
    configuration = _CONFIGURATION.format(patterns=patterns, tests=tests)
    (folder / "pyproject.toml").write_text((_ROOT / "pyproject.toml").read_text() + configuration)


def _mutmut(folder: Path, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "mutmut", *arguments], cwd=folder, check=False)


def _results(folder: Path) -> dict[str, int | None]:
    """Exit codes of pytest by mutant."""
    found: dict[str, int | None] = {}
    for path in folder.glob("mutants/**/*.meta"):
        found.update(json.loads(path.read_text())["exit_code_by_key"])
    return found


def _report(folder: Path, room: str, sample: list[str], total: int, seed: int) -> None:
    states = _states(folder)
    counts = Counter(states[each] for each in sample)
    noticed = sum(counts[each] for each in _NOTICED)
    low, high = wilson_interval(noticed, len(sample))
    survivors = {each: [states[each], _change(folder, each)] for each in sample if states[each] not in _NOTICED}
    result = {
        "room": room,
        **{key: list(value) for key, value in asdict(ROOMS[room]).items()},
        "mutants": total,
        "sample": len(sample),
        "seed": seed,
        "states": dict(counts),
        "score": noticed / len(sample),
        "interval_95": [low, high],
        "survivors": survivors,
    }
    path = folder / "result.json"
    path.write_text(json.dumps(result, indent=2))
    print(
        f"{room}: {noticed} of {len(sample)} mutants noticed = {100 * noticed / len(sample):.1f} % "
        f"(95 % interval {100 * low:.1f} to {100 * high:.1f}), drawn from {total} with seed {seed}; {path}"
    )


def _states(folder: Path) -> dict[str, str]:
    text = subprocess.run(
        [sys.executable, "-m", "mutmut", "results", "--all", "true"],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return dict(re.findall(r"^\s*(\S+): (.+)$", text, re.MULTILINE))


def _change(folder: Path, mutant: str) -> str:
    """The lines that a mutant takes away and adds."""
    shown = subprocess.run(
        [sys.executable, "-m", "mutmut", "show", mutant], cwd=folder, check=False, capture_output=True, text=True
    ).stdout
    lines = [line for line in shown.splitlines() if re.match(r"[-+](?![-+])", line)]
    return "\n".join(lines)


def wilson_interval(successes: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's interval of a proportion; of a sample without replacement it is somewhat too wide."""
    share = successes / trials
    centre = share + z * z / (2 * trials)
    half = z * sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    return (centre - half) / scale, (centre + half) / scale


if __name__ == "__main__":
    main()
