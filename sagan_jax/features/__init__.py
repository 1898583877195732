"""From images to feature vectors: feature networks, their weights, resizing, and the pass through all devices."""
