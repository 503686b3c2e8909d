"""Unknown objects of replayed bags as records: bag by bag, on as many workers as there are, then joined."""
