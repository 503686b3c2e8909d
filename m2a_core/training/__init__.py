"""Training of Mask2Anomaly: targets, losses (Secs. 3, 4.3), AnomalyMix and the trainer; needs torch."""
