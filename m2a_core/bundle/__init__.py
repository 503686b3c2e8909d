"""Model bundles: the manifest, loading with every hash checked, and where shipped files are."""
