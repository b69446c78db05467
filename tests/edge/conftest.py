"""Fixtures for the tests of the runtime."""

import shutil
import tempfile
from pathlib import Path

import pytest
import zmq


@pytest.fixture
def run_dir():
    """A run directory with a name short enough for sockets."""
    folder = Path(tempfile.mkdtemp(prefix="sono-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def context():
    """A ZeroMQ context; open sockets at the end are a failure of the test, not a hang."""
    made = zmq.Context()
    yield made
    assert made._sockets is None or not [s for s in made._sockets if not s.closed], "a socket was left open"
    made.term()
