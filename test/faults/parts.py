"""The parts of the campaign."""

from __future__ import annotations

from test.faults.campaign import Part

PARTS = (
    Part("messages", "images, compressed images, camera_infos and depth images", 10_000, 30.0, 500),
    Part("files", "model, engine, checkpoint, manifest, signature, image and YAML files", 1_200, 60.0, 150),
    Part("bags", "bags", 300, 60.0, 75),
    Part("parameters", "parameters, at start and live", 600, 30.0, 150),
    Part("lifecycle", "sequences of transitions under traffic", 500, 120.0, 125),
    Part("processes", "signals, starvation, limits, disks, clocks, participants", 132, 300.0, 6),
)
