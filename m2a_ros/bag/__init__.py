"""Looking at bags and making them; needs neither ROS nor rclpy."""
