"""Unknown objects that a fleet met: records, embeddings, duplicates, clusters, and the gallery to name them in."""
