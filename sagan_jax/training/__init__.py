"""Training: state, losses, optimisers, the pure step and the loop around it."""
