"""What the papers for regulators claim: the controls' tests exist, the list of libraries is that of the locks, the examples are taken."""

import configparser
import re
import xml.etree.ElementTree
from pathlib import Path

import pytest
import soup

ROOT = Path(__file__).parents[1]
SAFETY = (ROOT / "docs/safety.md").read_text()
EXAMPLES = ROOT / "packaging/examples"


def test_every_control_names_tests_that_exist():
    written = {name for path in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"^def (test_\w+)", path.read_text(), re.M)}
    hazards = [line for line in SAFETY.split("## Known anomalies")[0].splitlines() if line.startswith("| ") and "`test_" in line]
    assert len(hazards) >= 17
    named = set(re.findall(r"`(test_\w+)`", SAFETY))
    assert named - written == set()
    table = SAFETY.split("| hazard |")[1].split("## Known anomalies")[0].splitlines()[2:]
    assert not [line for line in table if line.startswith("| ") and "`test_" not in line], "a control without a test"


def test_the_list_of_libraries_is_that_of_the_locks():
    assert (ROOT / "docs/soup.md").read_text() == soup.page(), "run: python packaging/soup.py"


def test_a_library_without_a_purpose_cannot_be_listed(monkeypatch):
    monkeypatch.delitem(soup.USES, "numpy")
    with pytest.raises(KeyError, match="numpy"):
        soup.page()


def test_it_is_said_plainly_that_this_is_no_medical_device():
    for name in ("README.md", "docs/safety.md"):
        assert re.search(r"not a medical device", (ROOT / name).read_text(), re.I)


def test_the_examples_can_be_read():
    access = configparser.ConfigParser()
    access.read(EXAMPLES / "sonosweep-ap.nmconnection")
    assert access["wifi"]["mode"] == "ap" and access["ipv4"]["address1"].startswith("10.42.0.1/")
    service = xml.etree.ElementTree.parse(EXAMPLES / "sonosweep.service").getroot()
    port = re.search(r"ListenStream=.*:(\d+)", (ROOT / "systemd/sonosweep-tablet.socket").read_text())[1]
    assert {node.text for node in service.iter("port")} == {port}
