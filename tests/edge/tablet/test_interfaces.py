"""Which of its addresses the device shows to a tablet that has never seen it."""

import ipaddress

import pytest

from edge.tablet.interfaces import likeliest_first, of_interfaces

HEAD = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
BRIDGE, RADIO, CABLE, NAME = (ipaddress.ip_address(one) for one in ("172.17.0.1", "192.168.4.1", "192.168.77.5", "10.0.0.9"))
OF = {"docker0": BRIDGE, "wlan0": RADIO, "eth0": CABLE}


@pytest.fixture
def machine(tmp_path):
    def made(*defaults):
        routes = [f"{name}\t00000000\t014DA8C0\t0003\t0\t0\t{metric}\t00000000\t0\t0\t0" for name, metric in defaults]
        (tmp_path / "route").write_text(HEAD + "\n".join([*routes, "docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0"]))
        return tmp_path / "route", tmp_path / "net"

    for name in OF:
        (tmp_path / "net" / name).mkdir(parents=True)
    for name in ("wlan0", "eth0"):
        (tmp_path / "net" / name / "device").mkdir()
    return made


def test_the_networks_own_address_comes_before_a_bridge_of_containers(machine):
    assert likeliest_first([NAME, BRIDGE, RADIO, CABLE], OF, *machine(("eth0", 100))) == [CABLE, RADIO, NAME, BRIDGE]


def test_of_two_ways_out_the_one_that_is_taken_comes_first(machine):
    assert likeliest_first([BRIDGE, RADIO, CABLE], OF, *machine(("eth0", 600), ("wlan0", 100)))[:2] == [RADIO, CABLE]


def test_an_access_point_without_a_way_out_is_found_by_its_hardware(machine):
    assert likeliest_first([BRIDGE, RADIO], OF, *machine())[0] == RADIO


def test_what_cannot_be_read_decides_nothing(tmp_path):
    assert likeliest_first([RADIO, BRIDGE], OF, tmp_path / "none", tmp_path) == [BRIDGE, RADIO]
    assert ipaddress.ip_address("127.0.0.1") in of_interfaces().values()
