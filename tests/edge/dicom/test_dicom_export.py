"""The tablet's export writes DICOM beside the sweep, queues it where a PACS is configured, and says what it refuses."""

import msgspec
import pydicom
import pytest
from dicom_cases import EXAM, SWEEP, put_sweep

from edge.app import main
from edge.dicom.queue import Queue
from edge.files import CannotWrite
from edge.tablet.exports import export


def test_an_export_lies_in_the_library_and_waits_for_the_pacs(library, config, tmp_path):
    told = []
    config = msgspec.structs.replace(config, pacs_host="192.0.2.1")
    written = export(library, SWEEP, ("dcm",), lambda done, total: told.append(done), config)
    assert written == sorted(f"{SWEEP}_0-{kind}.dcm" for kind in ("ultrasound", "photoacoustic", "photoacoustic-copy", "clip", "picture-1"))
    assert set(written) <= {file["name"] for file in library.listed(SWEEP)["files"]} and told[-1] == 1
    assert {entry.state for entry in Queue(tmp_path / "queue").entries()} == {"waiting"}
    export(library, SWEEP, ("dcm",), lambda done, total: None, config)
    assert len(Queue(tmp_path / "queue").entries()) == 5


def test_without_a_pacs_nothing_is_queued_and_a_flip_forgets_the_old_objects(library, config, tmp_path):
    export(library, SWEEP, ("dcm",), lambda done, total: None, config)
    assert not (tmp_path / "queue").exists()
    turned = tuple(str(path.rename(path.with_name(path.name.replace(f"{SWEEP}_0", f"{SWEEP}_1")))) for path in library.volume_files(SWEEP))
    library.forget_but(SWEEP, turned)
    assert not list(library.volumes.glob("*.dcm"))


def test_what_is_refused_is_said_and_the_rest_is_written(library, config):
    other = SWEEP[:-1] + "2"
    put_sweep(library, other, EXAM, direction_source="unverified")
    with pytest.raises(CannotWrite, match="mirror image"):
        export(library, other, ("dcm",), lambda done, total: None, config)
    assert [path.name for path in library.volumes.glob("*.dcm")] == [f"{other}_0-clip.dcm"]


def test_write_is_a_command_that_names_files_and_refusals(library, tmp_path, capsys):
    config = tmp_path / "edge.toml"
    config.write_text(f'[record]\nfolder = "{library.recordings}"\n[dicom]\ncompression = "rle"\n')
    out = tmp_path / "out"
    words = ["dicom", "write", SWEEP, "-o", str(out), "--config", str(config), "--what", "volume"]
    assert main([*words, "--anonymous"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    ds = pydicom.dcmread(out / f"{SWEEP}-ultrasound.dcm")
    assert ds.PatientIdentityRemoved == "YES" and ds.file_meta.TransferSyntaxUID.is_compressed
    (library.recordings / f"{SWEEP}_0.mcap").unlink()
    assert main(words) == 1
    assert "nobody has said mechanical index" in capsys.readouterr().err
    assert main([*words[:2], "nothing.nrrd", "-o", str(out)]) == 1
