"""What is compared with what, by which protocol, and how it is told."""
