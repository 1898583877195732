"""Images from disk to the device; knows nothing of training."""
