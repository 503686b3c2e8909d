"""Back ends that run an exported network, behind one interface."""
