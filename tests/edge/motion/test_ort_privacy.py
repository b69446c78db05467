"""ONNX Runtime tells nobody what it runs: it leaves nothing behind and has nothing to send."""

import os
import subprocess
import sys

OPENS = "from edge.motion import open_motion; from edge.config import MotionConfig; open_motion(MotionConfig(backend='ort'))"


def test_the_network_leaves_no_database_of_its_use_and_no_id_of_the_device(tmp_path):
    subprocess.run([sys.executable, "-c", OPENS], env=os.environ | {"HOME": str(tmp_path)}, check=True)
    assert not list(tmp_path.rglob("*"))
