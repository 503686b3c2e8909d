"""Results and data in the formats of other tools: COCO, PNG, ``supervision``."""
