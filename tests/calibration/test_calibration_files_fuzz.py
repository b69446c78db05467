"""Damaged probe files and phantom definitions: each is read, or refused by name, quickly and with little memory."""

from __future__ import annotations

import random
import time
import tracemalloc

import msgspec
import numpy as np
import pytest
from wire_phantom import write_phantom

from calibration.phantom import read_phantom
from edge.errors import SonosweepError
from edge.files import ProbeFile, read_probe
from edge.messages import Geometry

ROUNDS = 1500
WORDS = (b"nan", b"1e999", b"-1", b"null", b"[]", b"{}", b'"', b"<", b"&x;", b"\x00", b"\xff", b"99999999999999999999", b"0 0 0")
BOMB = """<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa">{entities}]>
<PlusConfiguration><PhantomDefinition><Description Name="&e7;"/></PhantomDefinition></PlusConfiguration>"""


def mutated(text: bytes, dice: random.Random) -> bytes:
    """Cut, doubled, or with a word or a bit put in, a few times."""
    for _ in range(dice.randint(1, 4)):
        at, end = sorted(dice.randrange(len(text) + 1) for _ in range(2))
        text = (
            dice.choice(
                (
                    text[:at],
                    text[:at] + text[end:],
                    text[:end] + text[at:],
                    text[:at] + dice.choice(WORDS) + text[at:],
                    text[:at] + dice.choice(WORDS) + text[at + dice.randint(1, 12) :],
                    text[:at] + bytes([dice.randrange(256)]) + text[at + 1 :],
                )
            )[: 1 << 16]
            or b" "
        )
    return text


@pytest.mark.parametrize("kind", ["probe", "phantom"])
def test_what_is_damaged_is_refused_by_name(tmp_path, kind):
    path = tmp_path / "file"
    if kind == "probe":
        geometry = Geometry(width=40, height=30, spacing_mm=(0.5, 0.4))
        matrix = tuple(np.diag([0.5, 0.4, 0.45, 1]).ravel().tolist())
        whole, read = msgspec.json.encode(ProbeFile(probe="a", date="b", geometry=geometry, image_to_probe=matrix)), read_probe
    else:
        whole, read = write_phantom(path).read_bytes(), read_phantom
    dice, fine = random.Random(7), 0
    tracemalloc.start()
    for _ in range(ROUNDS):
        path.write_bytes(mutated(whole, dice))
        begun = time.process_time()
        try:
            read(path)
            fine += 1
        except SonosweepError:
            pass
        assert time.process_time() - begun < 1
    assert tracemalloc.get_traced_memory()[1] < 32 << 20
    tracemalloc.stop()
    assert 0 < fine < ROUNDS, "some mutations hurt nothing, most do"


def test_an_xml_bomb_goes_off_nowhere(tmp_path):
    entities = "".join(f'<!ENTITY {n}{i} "{f"&{p};" * 10}">' for i, (n, p) in enumerate([("e", "a"), *[("e", f"e{k}") for k in range(7)]]))
    path = tmp_path / "bomb.xml"
    path.write_text(BOMB.format(entities=entities))
    begun = time.process_time()
    with pytest.raises(SonosweepError):
        read_phantom(path)
    assert time.process_time() - begun < 1
