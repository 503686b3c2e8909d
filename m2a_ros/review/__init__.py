"""What a replay's results mean: ground truth, metrics, objects, worst moments, comparison and report; no ROS needed."""
