"""Updates without a network: who may sign a package."""
