"""Scoring a method's outputs against ground truth: files in, figures and a report out."""
