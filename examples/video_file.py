"""Unknown objects of a video, followed from frame to frame: python examples/video_file.py drive.mp4 [camera.yaml]

With a calibration of ROS's camera_calibration, objects also have a distance in metres. The camera is taken to sit 1.4 m
above the road and to look straight ahead: change ``mounting`` to yours.
"""

import sys
from collections import Counter

import m2a_core as m2a

if len(sys.argv) < 2:
    sys.exit(__doc__)
video, *calibration = sys.argv[1:]
frames_seen: Counter[int] = Counter()
with m2a.load("m2a-edge") as model:
    for result in model.track(video, calibration=(calibration or [None])[0], mounting="height=1.4,pitch=0.0"):
        for item in result.objects:  # confirmed: seen in several frames
            frames_seen[item.instance.id] += 1
            where = "" if item.location is None else f", {item.location.distance:.1f} m ahead"
            print(f"{result.stamp_ns / 1e9:6.2f} s: object {item.instance.id}, {item.instance.score:.2f}{where}")
for number, frames in frames_seen.most_common():
    print(f"object {number} was seen in {frames} frames")
