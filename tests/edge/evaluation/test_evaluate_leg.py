"""Classical motion and the baselines on real adaptation pieces of the leg; none of them is the test sweep."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from edge.app import main
from edge.commands import evaluate

LEG = Path(__file__).parents[4] / "shared" / "data" / "leg"
MEASURED, FITTED = LEG / "leg_0221_0317.igs.mha", [LEG / f"leg_{piece}.igs.mha" for piece in ("0003_0043", "0044_0079", "0937_0977")]
pytestmark = pytest.mark.skipif(not MEASURED.exists(), reason=f"{LEG} is not there")


def test_decorrelation_knows_more_of_a_real_hand_than_constant_motion(capsys, tmp_path):
    parser = argparse.ArgumentParser()
    evaluate.add_arguments(parser)
    words = [MEASURED, "--motion", "decorrelation", "--adaptation", *FITTED, "-o", tmp_path, "--json"]
    assert evaluate.run(parser.parse_args([str(word) for word in words])) == 0
    (one,) = json.loads(capsys.readouterr().out)["sweeps"]
    still, constant = one["baselines"]["none"], one["baselines"]["constant"]
    assert one["frames"] == 97 and one["path_mm"] == pytest.approx(77.6, abs=0.1)
    assert still["final_drift_rate_percent"] == pytest.approx(91.1, abs=0.1)
    assert one["lpe_mm"] < 0.6 * still["lpe_mm"] and one["lpe_mm"] < 1.05 * constant["lpe_mm"]
    assert one["correlation"]["tx"] > 0.3 and one["correlation"]["rz"] > 0.2
    assert still["volume_ncc"] < 0.2 < one["volume_ncc"] < 0.9
    assert (tmp_path / "01-leg_0221_0317.png").stat().st_size > 10_000


def test_a_curve_is_calibrated_and_used_to_reconstruct(capsys, tmp_path):
    curve, volume = tmp_path / "curve.json", tmp_path / "leg.nrrd"
    assert main(["calibrate", "decorrelation", *map(str, FITTED[:2]), "-o", str(curve)]) == 0
    assert "from 75 steps of 2 sweeps" in capsys.readouterr().out
    words = ["reconstruct", str(FITTED[2]), "-o", str(volume), "--motion", "decorrelation", "--preset", str(curve)]
    assert main([*words, "--direction", "-", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    rates = {row["motion"]: row["final_drift_rate_percent"] for row in told["accuracy"]}
    assert rates["decorrelation"] < rates["no motion"]
