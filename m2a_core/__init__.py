"""m2a: open-set perception for vehicles, after Mask2Anomaly (Rai et al., TPAMI 2024).

The package never imports ROS; its running path (``runtime``, ``openset``, ``preprocess``) never imports torch.
"""

__version__ = "0.1.0"
