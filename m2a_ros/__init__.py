"""ROS 2 side of m2a: a managed node around ``m2a_core``. The only package that imports rclpy."""
