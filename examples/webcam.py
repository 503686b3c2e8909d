"""A camera in a window: python examples/webcam.py [0 | rtsp://... | drive.mp4] [number of frames]

Without a camera, give a video file instead. A live source gives its latest frame: what the network is too slow for is
dropped and never queued. Press q to end. Without a screen, the last overlay is written to webcam.jpg.
"""

import os
import sys
import time
from itertools import islice

import cv2

import m2a_core as m2a

source = sys.argv[1] if len(sys.argv) > 1 else "0"
frames = int(sys.argv[2]) if len(sys.argv) > 2 else None
screen = bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
result, count, started = None, 0, time.monotonic()
with m2a.load("m2a-edge", horizon=False) as model:  # one look a frame: twice the frame rate, fewer far objects
    for result in islice(model.track(source), frames):
        count += 1
        if screen:
            cv2.imshow("m2a", result.overlay(legend=True)[..., ::-1])
            if cv2.waitKey(1) == ord("q"):
                break
print(f"{count} frames, {count / (time.monotonic() - started):.1f} a second")
if result is not None and not screen:
    result.save("webcam.jpg")
