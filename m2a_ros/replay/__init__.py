"""Reading bags, replaying them through the model, and judging the outcome; needs neither ROS nor rclpy."""
