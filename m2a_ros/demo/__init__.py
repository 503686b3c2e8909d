"""``m2a demo``: a clip played through the node over DDS, everything recorded, measured and shown."""
