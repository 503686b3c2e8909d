"""Operators that m2a writes itself."""
