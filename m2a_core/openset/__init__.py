"""Open-set heads: from query classes and masks to anomaly maps, open-set masks and unknown instances (Secs. 4-6)."""
