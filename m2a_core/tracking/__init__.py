"""Unknown objects from frame to frame: assignment, tracks and their ids."""
