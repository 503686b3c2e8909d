"""What the node publishes, and how."""
