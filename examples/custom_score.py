"""An anomaly score of your own from the network's logits: python examples/custom_score.py photo.jpg

The network answers with Q pairs of a class (logits C) and a mask (logits M). This score is the entropy of the class
that they vote for at each pixel. Replace ``score`` by your formula; the rest stays.
"""

import sys

import cv2
import numpy as np

import m2a_core as m2a
from m2a_core.overlay import draw_scores


def score(class_logits: np.ndarray, mask_logits: np.ndarray) -> np.ndarray:
    """float32 [h, w], higher = more anomalous; of C [Q, K+1], whose last class is "no object", and M [Q, h, w]."""
    classes = np.exp(class_logits - class_logits.max(axis=1, keepdims=True))
    classes /= classes.sum(axis=1, keepdims=True)
    votes = np.einsum("qk,qhw->khw", classes[:, :-1], 1 / (1 + np.exp(-mask_logits.clip(-30)))) + 1e-6
    votes /= votes.sum(axis=0)
    return -(votes * np.log(votes)).sum(axis=0) / np.log(len(votes))


if len(sys.argv) < 2:
    sys.exit(__doc__)
image = sys.argv[1]
with m2a.load("m2a-edge") as model:
    logits = model.logits(image)
    mine = logits.at_image_size(score(logits.class_logits, logits.mask_logits))
    shipped = model(image).score
both = np.corrcoef(mine.ravel(), shipped.ravel())[0, 1]
print(f"my score: {mine.min():.2f} to {mine.max():.2f}; correlation with the score that ships: {both:.2f}")
cv2.imwrite("my_score.png", draw_scores(mine)[..., ::-1])
