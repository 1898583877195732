"""What the networks learn by: adversarial losses, and penalties that are added to them; pure functions."""
