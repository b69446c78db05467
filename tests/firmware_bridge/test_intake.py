"""The door for front ends: which endpoints are refused, and that it belongs to one bridge."""

from __future__ import annotations

import socket

import pytest
from bridge_bench import BridgeBench
from wire_frames import linear_frame

from edge.config import BridgeConfig, ConfigError
from firmware_bridge.intake import EndpointTaken, EndpointUnusable, Intake, UnprotectedEndpoint, check_endpoint
from firmware_bridge.probe import FrontEnd, NoBridge


@pytest.mark.parametrize("endpoint", ["tcp://127.0.0.1:5555", "tcp://[::1]:5555", "tcp://localhost:5555", "ipc:///tmp/x.ipc"])
def test_a_local_door_needs_no_keys(endpoint: str) -> None:
    check_endpoint(BridgeConfig(endpoint=endpoint))


@pytest.mark.parametrize("endpoint", ["tcp://*:5555", "tcp://0.0.0.0:5555", "tcp://192.168.1.2:5555", "tcp://eth0:5555", "tcp://[::]:5555"])
def test_an_open_door_on_the_network_is_refused(endpoint: str) -> None:
    with pytest.raises(UnprotectedEndpoint, match="server_key"):
        check_endpoint(BridgeConfig(endpoint=endpoint))
    check_endpoint(BridgeConfig(endpoint=endpoint), allow_plaintext=True)


@pytest.mark.parametrize("endpoint", ["udp://127.0.0.1:5555", "5555", "ipc://", "ipc://*", "inproc://x"])
def test_a_transport_without_front_ends_is_refused(endpoint: str) -> None:
    with pytest.raises(ConfigError, match=r"bridge\.endpoint .* reads like"):
        check_endpoint(BridgeConfig(endpoint=endpoint))


@pytest.mark.parametrize("port", ["99999", "65536", "0", "-1", "*", "55x", "+5555", " 5555", ""])
def test_a_port_that_libzmq_would_take_for_another_is_refused(port: str) -> None:
    endpoint = f"tcp://127.0.0.1:{port}"
    with pytest.raises(ConfigError, match=r"bridge\.endpoint .* 1 to 65535"):
        check_endpoint(BridgeConfig(endpoint=endpoint))
    with pytest.raises(NoBridge, match="1 to 65535"):
        FrontEnd(endpoint)


def test_a_door_that_is_taken_is_named(bench: BridgeBench) -> None:
    endpoint = bench.open_bridge(transport="tcp")
    with pytest.raises(EndpointUnusable, match="another bridge"):
        bench.open_bridge(transport="tcp")
    with pytest.raises(EndpointUnusable, match="folder"):
        Intake(bench.context, BridgeConfig(endpoint=f"ipc://{bench.folder}/none/probe.ipc"))
    assert endpoint == bench.endpoint


def test_a_local_door_has_one_bridge_and_the_refused_one_leaves_it_alone(bench: BridgeBench) -> None:
    config = BridgeConfig(endpoint=f"ipc://{bench.folder}/door.ipc")
    first = Intake(bench.context, config)
    with pytest.raises(EndpointTaken, match=r"door\.ipc"):
        Intake(bench.context, config)
    assert (bench.folder / "door.ipc").is_socket()
    first.close()
    second = Intake(bench.context, config)
    first.close()  # again: the door is no longer its own
    with FrontEnd(config.endpoint) as front_end:
        front_end.send(linear_frame(0))
        assert second.socket.poll(5000) and second.receive()
    second.close()
    assert not list(bench.folder.glob("door.ipc"))


def test_the_door_of_a_bridge_that_was_killed_is_taken_over(bench: BridgeBench) -> None:
    config = BridgeConfig(endpoint=f"ipc://{bench.folder}/door.ipc")
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(f"{bench.folder}/door.ipc")
    (bench.folder / "door.ipc.lock").touch()
    Intake(bench.context, config).close()
