"""The subcommands that ``edge`` brings: one file each, found by entry points."""
