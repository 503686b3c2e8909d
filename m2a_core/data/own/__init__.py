"""Data sets of one's own: classes from a file, frames from one of several formats. Guide: ``docs/own_data.md``."""
