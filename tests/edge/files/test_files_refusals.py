"""What others may have meant by a file, or would lose by one that is written: taken as it was meant, or refused by name."""

from __future__ import annotations

import numpy as np
import pytest
from foreign_files import tracked

from edge.app import main
from edge.files import CannotWrite, open_sweep, write_sweep
from edge.files.tus_rec import write_tus_rec
from edge.messages import Frame, Geometry
from edge.transform import Transform


def tracked_sweep(path, spacing_mm):
    geometry = Geometry(width=30, height=20, spacing_mm=spacing_mm)
    images, _ = tracked()
    step = np.diag([*spacing_mm, 1.0, 1.0])
    write_sweep(
        path,
        (
            Frame(
                boot_id=1,
                sweep=1,
                sequence=n,
                timestamp_ns=n * 50_000_000,
                geometry=geometry,
                pose_status="ok",
                image_to_reference=tuple((step + np.eye(4)[2:3].T @ [[0, 0, 0, 0.4 * n]]).ravel().tolist()),
                pixels=image,
            )
            for n, image in enumerate(images)
        ),
    )


def test_a_scan_of_another_pixel_size_does_not_change_the_table_of_those_beside_it(tmp_path, capsys):
    tracked_sweep(tmp_path / "shallow.igs.mha", (0.1, 0.1))
    tracked_sweep(tmp_path / "deep.igs.mha", (0.3, 0.3))
    scans = tmp_path / "scans"
    scans.mkdir()
    assert main(["convert", str(tmp_path / "shallow.igs.mha"), "-o", str(scans / "shallow.h5")]) == 0
    table = (scans / "calib_matrix.csv").read_bytes()
    assert main(["convert", str(tmp_path / "deep.igs.mha"), "-o", str(scans / "deep.h5")]) == 1
    assert "a folder of its own" in capsys.readouterr().err and not (scans / "deep.h5").exists()
    assert main(["convert", str(tmp_path / "shallow.igs.mha"), "-o", str(scans / "again.h5")]) == 0, "the same table serves both"
    assert (scans / "calib_matrix.csv").read_bytes() == table and open_sweep(scans / "shallow.h5").geometry.spacing_mm == (0.1, 0.1)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "calib_matrix.csv").mkdir()
    assert main(["convert", str(tmp_path / "deep.igs.mha"), "-o", str(tmp_path / "folder" / "deep.h5")]) == 1
    assert "is a folder" in capsys.readouterr().err


def test_a_new_table_takes_no_scan_away_from_the_one_above_it(tmp_path):
    images, _ = tracked()
    poses = [Transform("Image", "Reference", np.diag([0.2, 0.1, 1.0, 1.0]))] * len(images)
    inner = tmp_path / "scans"
    inner.mkdir()
    write_tus_rec(tmp_path / "a.h5", images, poses, (0.2, 0.1), np.eye(4))
    (tmp_path / "a.h5").rename(inner / "a.h5")
    with pytest.raises(CannotWrite, match=r"a\.h5 lies there"):
        write_tus_rec(inner / "b.h5", images, poses, (0.3, 0.1), np.eye(4))
    assert not (inner / "calib_matrix.csv").exists() and not (inner / "b.h5").exists()
    write_tus_rec(inner / "b.h5", images, poses, (0.2, 0.1), np.eye(4))
