"""What comes from the cameras: subscriptions, slots, batches, stamps, transforms."""
