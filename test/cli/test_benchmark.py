"""`m2a benchmark`."""

from __future__ import annotations

import json

import pytest

from m2a_core.cli.main import main


def test_json_has_every_stage_and_percentiles_of_both_looks(tiny, capsys):
    assert main(["benchmark", "--model", str(tiny), "--seconds", "0.1", "--image", "640x360", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["image"] == "640x360"
    assert [(run["backend"], run["horizon_window"]) for run in told["runs"]] == [
        ("onnxruntime", False),
        ("onnxruntime", True),
    ]
    for run in told["runs"]:
        assert {"preprocess", "network", "heads"} <= run["stages_ms"].keys()
        assert (
            run["latency_ms"]["min"] <= run["latency_ms"]["p50"] <= run["latency_ms"]["p95"] <= run["latency_ms"]["p99"]
        )
        assert run["frames"] >= 2
    assert "tensorrt" in told["left_out"]


def test_the_table_names_back_ends_and_stages(tiny, capsys):
    assert main(["benchmark", "--model", str(tiny), "--seconds", "0.1", "--backend", "onnxruntime"]) == 0
    shown = capsys.readouterr().out
    assert "onnxruntime + window" in shown
    assert "network" in shown


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--seconds", "0"], "--seconds"),
        (["--image", "5x5"], "--image"),
        (["--image", "nothing.jpg"], "nothing.jpg"),
        (["--backend", "tensorrt"], "no such engine"),
    ],
)
def test_what_cannot_be_measured_is_refused(tiny, capsys, arguments, word):
    assert main(["benchmark", "--model", str(tiny), *arguments]) == 2
    assert word in capsys.readouterr().err.lower()
