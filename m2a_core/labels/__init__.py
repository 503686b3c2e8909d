"""Label sets: class ids, names, colours, things and stuff."""
