"""``m2a view``: the node's outputs in the Rerun viewer, for people without RViz."""
