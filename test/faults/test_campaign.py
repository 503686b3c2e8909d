"""The campaign finds what it must, and a seeded slice of each part finds nothing; `make faults` runs all of it."""

from __future__ import annotations

import inspect
import random
import signal
from importlib import import_module

import pytest

from test.faults import processes
from test.faults.campaign import Part, Tally, promises, run, table
from test.faults.measured import PROMISES
from test.faults.mutation import mutated
from test.faults.parts import PARTS
from test.faults.processes import FULL_DISK


@pytest.mark.slow
def test_faults_crashes_and_hangs_are_found_and_the_rest_goes_on() -> None:
    # As a shell starts what it runs in the background.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        (tally,) = run([Part("broken", "broken", 8, limit_s=2.0, chunk=8)], seed=1, jobs=1, say=lambda line: None)
    finally:
        signal.signal(signal.SIGINT, before)
    assert tally.tried == 8
    assert tally.outcomes == {"well": 5}
    fault, crash, hang = tally.findings
    assert fault.startswith("broken 1 (seed 1): ")
    assert "ValueError in broken.py" in fault
    assert "broken 3 (seed 1): the process ended with code -6" in crash
    assert "broken 5 (seed 1): hangs" in hang
    assert "| broken | 8 | 5 | 3 | well 5 |" in table([tally])


@pytest.mark.parametrize("promise", PROMISES)
def test_a_median_beyond_its_promise_fails_the_campaign_and_a_scenario_measures_it(promise: str) -> None:
    tally = Tally(PARTS[0])
    tally.measured[promise] += [0.0, PROMISES[promise] + 0.1, PROMISES[promise] + 9.0]
    assert promises([tally])[1] == [
        f"{promise}: {PROMISES[promise] + 0.1:.2f} s in the median, promised are {PROMISES[promise]:g} s"
    ]
    assert f'measure("{promise}", ' in inspect.getsource(processes)


def test_a_seed_gives_the_same_damage() -> None:
    data = bytes(range(256))
    first = [mutated(data, random.Random(f"7 {i}")) for i in range(50)]
    assert first == [mutated(data, random.Random(f"7 {i}")) for i in range(50)]
    assert sum(changed != data for changed in first) > 45


SLICES = {"messages": 30, "files": 36, "bags": 12, "parameters": 8, "lifecycle": 2}
PROCESSES = (FULL_DISK,)
"""The others take minutes together."""


def numbers(part: str) -> range | tuple[int, ...]:
    return PROCESSES if part == "processes" else range(SLICES[part])


@pytest.mark.slow
@pytest.mark.parametrize("name", [part.name for part in PARTS])
def test_a_slice_of_the_part_is_survived(name: str, tmp_path) -> None:
    if name == "files":
        pytest.importorskip("torch")
    with import_module(f"test.faults.{name}").site(tmp_path) as case:
        outcomes = [case(random.Random(f"1 {name} {number}"), number) for number in numbers(name)]
    assert all(outcomes)
