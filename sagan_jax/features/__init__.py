"""Feature networks: their weights, the resizing of their input, and the extraction of features on all devices."""
