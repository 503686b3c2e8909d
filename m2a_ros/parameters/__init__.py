"""The node's parameters: declared, checked, read into frozen records."""
