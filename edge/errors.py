"""The root of every error that a person may read. Each module names its own below it."""


class SonosweepError(Exception):
    """Something is wrong that a person can mend. The message is one sentence: what is wrong, and what to do."""
