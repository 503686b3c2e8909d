"""Composes cut-out objects into a driving video so that they stand on the road while the car moves, with ground truth.

Run ``python -m m2a_core.compose --help``; NumPy and OpenCV only.
"""
