"""Anomaly map, masks and unknown objects of one image: python examples/python_api.py photo.jpg"""

import sys

import m2a_core as m2a

if len(sys.argv) < 2:
    sys.exit(__doc__)
model = m2a.load("m2a-edge")
result = model(sys.argv[1])
print(f"most anomalous pixel: {result.score.max():.2f}; known classes: {', '.join(model.labels.names)}")
for item in result.instances:
    print(f"unknown object {item.id}: score {item.score:.2f}, box {item.bbox}, {item.area} pixels")
result.save("overlay.jpg")
result.save("maps.npz")
