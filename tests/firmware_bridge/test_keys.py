"""Who may connect over a network: keys on the list, and nobody else."""

from __future__ import annotations

import argparse
import json
import stat
from pathlib import Path
from typing import Any

import pytest
import zmq
from bridge_bench import BridgeBench
from wire_frames import linear_frame

from edge.config import ConfigError
from firmware_bridge.commands import keys as keys_command
from firmware_bridge.keys import BadKey, make_keys, read_key_pair
from firmware_bridge.probe import FrontEnd
from firmware_bridge.wire import encode_frame

pytestmark = pytest.mark.skipif(not zmq.has("curve"), reason="this libzmq was built without CURVE")


@pytest.fixture
def locked(bench: BridgeBench) -> BridgeBench:
    """A bridge that lets in ``probe`` and no other key."""
    make_keys("bridge", bench.folder)
    make_keys("probe", bench.folder / "allowed")
    make_keys("stranger", bench.folder)
    bench.open_bridge(transport="tcp", server_key=str(bench.folder / "bridge.key_secret"), allowed_keys=str(bench.folder / "allowed"))
    return bench


def is_refused(bench: BridgeBench, front_end: FrontEnd) -> bool:
    """A key on the list gets in meanwhile, so the door is open; ``front_end`` does not, though it began first."""
    for i in range(3):
        front_end.send(linear_frame(i, boot_id=666), patience_s=0)
    run = bench.consume("run")
    known = bench.front_end(keys=(bench.folder / "allowed" / "probe.key_secret", bench.folder / "bridge.key"))
    known.send(linear_frame(0, boot_id=7))
    bench.step_until(lambda: bool(run.frames))
    bench.step_for(0.5)
    return {frame.boot_id for frame in run.frames} == {7} and bench.counts["received"] == 1


def test_a_known_key_gets_in(locked: BridgeBench) -> None:
    run = locked.consume("run")
    front_end = locked.front_end(keys=(locked.folder / "allowed" / "probe.key_secret", locked.folder / "bridge.key"))
    for i in range(3):
        front_end.send(linear_frame(i))
    locked.step_until(lambda: len(run.frames) == 3)


def test_an_unknown_key_is_refused(locked: BridgeBench) -> None:
    assert is_refused(locked, locked.front_end(keys=(locked.folder / "stranger.key_secret", locked.folder / "bridge.key")))


def test_a_client_without_encryption_is_refused(locked: BridgeBench) -> None:
    assert is_refused(locked, locked.front_end())


def test_a_client_that_takes_us_for_another_bridge_is_refused(locked: BridgeBench) -> None:
    keys = (locked.folder / "allowed" / "probe.key_secret", locked.folder / "stranger.key")
    assert is_refused(locked, locked.front_end(keys=keys))


def test_a_plain_password_is_refused(locked: BridgeBench) -> None:
    socket = locked.context.socket(zmq.PUSH)
    socket.setsockopt(zmq.LINGER, 0)
    socket.plain_username, socket.plain_password = b"probe", b"probe"
    socket.connect(locked.endpoint)
    socket.send_multipart(encode_frame(linear_frame(0, boot_id=666)))
    assert is_refused(locked, locked.front_end())
    socket.close()


def test_a_secret_without_a_list_is_an_error(bench: BridgeBench) -> None:
    make_keys("bridge", bench.folder)
    secret = str(bench.folder / "bridge.key_secret")
    with pytest.raises(ConfigError, match="allowed_keys"):
        bench.open_bridge(transport="tcp", server_key=secret)
    (bench.folder / "allowed").mkdir()
    with pytest.raises(ConfigError, match="copy the public key"):
        bench.open_bridge(transport="tcp", server_key=secret, allowed_keys=str(bench.folder / "allowed"))
    (bench.folder / "allowed" / "broken.key").write_text("no key\n")
    with pytest.raises(BadKey, match=r"broken\.key"):
        bench.open_bridge(transport="tcp", server_key=secret, allowed_keys=str(bench.folder / "allowed"))


def test_a_secret_that_everybody_can_read_is_refused(tmp_path: Path) -> None:
    _, secret = make_keys("bridge", tmp_path)
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    read_key_pair(secret)
    secret.chmod(0o644)
    with pytest.raises(BadKey, match="everybody"):
        read_key_pair(secret)


def test_keys_are_never_overwritten_and_names_stay_in_the_folder(tmp_path: Path) -> None:
    make_keys("bridge", tmp_path)
    with pytest.raises(BadKey, match="exists"):
        make_keys("bridge", tmp_path)
    for name in ("", "../bridge", ".hidden", "a/b"):
        with pytest.raises(BadKey, match="name"):
            make_keys(name, tmp_path)


def test_the_public_file_holds_no_secret(tmp_path: Path) -> None:
    public, _ = make_keys("bridge", tmp_path)
    with pytest.raises(BadKey, match="no secret"):
        read_key_pair(public)


def test_the_command_names_both_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    keys_command.add_arguments(parser)
    assert keys_command.run(parser.parse_args(["probe7", "-o", str(tmp_path / "keys"), "--json"])) == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert answer == {"public": str(tmp_path / "keys" / "probe7.key"), "secret": str(tmp_path / "keys" / "probe7.key_secret")}
    assert all(Path(path).exists() for path in answer.values())
