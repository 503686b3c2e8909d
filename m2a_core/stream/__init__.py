"""One camera's stream of frames: image, calibration and depth in; numbered, tracked, localized unknown objects out."""
