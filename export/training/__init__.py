"""Training a motion network: where the data comes from, what is learned from it, and how."""
