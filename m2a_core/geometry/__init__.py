"""Cameras and the ground: intrinsics, projection, rectification, crops, depth, localization. No rclpy."""
