"""What the page holds of a volume is what the device holds, whatever the link brings and however often; and what it costs in memory."""

import os
import struct
import zlib
from pathlib import Path

import lz4.block
import numpy as np
import pytest
from chromium import missing
from viewer import SPACING_MM, block, sent, viewing

from edge.messages import Bricks
from edge.tablet.store import BrickStore

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "runs")
SWEEPS = int(os.environ.get("SONOSWEEP_LEAK_SWEEPS", "30"))  # 3600: about an hour
TRY = "const tried = (work) => { try { return work(); } catch (wrong) { return wrong.name; } };"


@pytest.fixture(scope="module")
def viewer():
    with viewing() as viewer:
        yield viewer


@pytest.fixture
def page(viewer):
    viewer.open()
    return viewer


def blocks():
    """Bytes that compress in every way: not at all, in one long run, in short and overlapping matches."""
    random = np.random.default_rng(5)
    yield from (b"", b"a", bytes(15), bytes(100_000), random.bytes(70_000), b"abcabcabd" * 3000, bytes(range(256)) * 300)
    yield random.integers(0, 3, 30_000, dtype=np.uint8).tobytes()
    yield np.repeat(random.integers(0, 256, 400, dtype=np.uint8), random.integers(1, 700, 400)).tobytes()


def unpacked(page, cases):
    """Of each (block, length): [length, CRC-32] of what the page makes of it, or the name of what it throws."""
    script = """return words[0].map(([block, length]) => tried(() => {
      const out = viewer.lz4(viewer.bytes(block), length);
      return [out.length, viewer.crc32(out)];
    }));"""
    return page.js(TRY + script, [(page.text(compressed), length) for compressed, length in cases])


def test_lz4_and_crc32_are_those_of_the_device(page):
    plain = list(blocks())
    packed = [lz4.block.compress(data, store_size=False, mode=mode) for data in plain for mode in ("default", "high_compression")]
    lengths = [len(data) for data in plain for _ in range(2)]
    expected = [[len(data), zlib.crc32(data)] for data in plain for _ in range(2)]
    assert unpacked(page, list(zip(packed, lengths, strict=True))) == expected
    halves = page.js(
        "return words[0].map((all, n) => viewer.crc32(viewer.bytes(words[1][n]), viewer.crc32(viewer.bytes(all))))",
        [page.text(data) for data in plain],
        [page.text(data[: len(data) // 3]) for data in plain],
    )
    assert halves == [zlib.crc32(data + data[: len(data) // 3]) for data in plain]


def test_a_broken_lz4_block_is_refused_and_never_read_wrongly(page):
    random = np.random.default_rng(6)
    cut, bent = [(b"\x10a\x00\x00", 5), (b"\x10a\x02\x00", 5)], []  # a match with itself, and with what was before the first byte
    for data in list(blocks())[2:]:
        packed = lz4.block.compress(data[:5000], store_size=False)
        length = len(data[:5000])
        cut += [(packed[:at], length) for at in random.integers(0, len(packed), 40)] + [(packed, length + 1), (packed, length - 1)]
        for _ in range(150):
            wrong = bytearray(packed)
            for at in random.integers(0, len(wrong), 3):
                wrong[at] = random.integers(0, 256)
            bent.append((bytes(wrong), length))
    assert set(map(str, unpacked(page, cut))) == {"RangeError"}
    refused = 0
    for (packed, length), answer in zip(bent, unpacked(page, bent), strict=True):
        try:
            reference = lz4.block.decompress(packed, uncompressed_size=length)
        except lz4.block.LZ4BlockError:
            reference = b""
        if len(reference) == length:
            assert answer == [length, zlib.crc32(reference)]
        else:
            assert answer == "RangeError" or answer[0] == length, "stricter about a block's end than we are"
        refused += answer == "RangeError"
    assert refused > len(bent) / 4


def changed(random, epoch, channel=0, count=40, reach=3):
    """Some bricks as the reconstructor says them; of some every voxel is new, some are almost empty, one has no voxel at all."""
    coords = np.unique(random.integers(-reach, reach, (count, 3)), axis=0).astype(np.int32)
    random.shuffle(coords)
    share = random.choice([0.02, 0.5, 1.0], len(coords))[:, None, None, None]
    share[0] = 0
    state = (random.random((len(coords), 8, 8, 8)) < share) * random.integers(1, 4, (len(coords), 8, 8, 8))
    intensity = np.where(state > 0, random.integers(0, 256, state.shape), 0)
    words = {
        "channel_name": "ultrasound",
        "boot_id": 1,
        "sweep": 1,
        "sequence": 0,
        "spacing_mm": SPACING_MM,
        "timestamp_ns": 0,
        "received_ns": 0,
    }
    return Bricks(epoch=epoch, channel=channel, coords=coords, intensity=intensity.astype(np.uint8), state=state.astype(np.uint8), **words)


def held(page):
    told = page.js("return viewer.volume.checksum()")
    return told["crc32"], told["bricks"]


@pytest.mark.parametrize("seed", range(3))
def test_the_page_ends_with_the_checksum_of_the_device(page, seed):
    random = np.random.default_rng(seed)
    late = []
    for _ in range(4):
        feed, store = page.begin(), BrickStore()
        feed.show(store, page.epoch, complete=False)
        own = []
        for _ in range(5):
            store.take(changed(random, page.epoch, channel=int(random.integers(0, 5))))
            feed.mode = str(random.choice(["full", "half"]))
            messages = sent(feed)
            own += messages
            page.take([messages[n] for n in random.permutation(len(messages))] + late[:2])
        feed.complete = True
        last = sent(feed)
        page.take(late + [last[n] for n in random.permutation(len(last))] + last)
        assert held(page) == store.crc32() and store.crc32()[1] > 50
        states = store.voxels[: store.count][store.channel[: store.count] == 0][:, 1]
        assert page.js("return viewer.volume.counts") == {
            name: int((states == n).sum()) for n, name in enumerate(("measured", "interpolated", "filled"), 1)
        }
        assert page.js("return viewer.volume.previews") == 0
        late = own
    page.js("viewer.volume.epoch({epoch: 10 ** 6, spacing_mm: 1, source: 'test'})")
    assert held(page) == (0, 0) != store.crc32()


def test_half_detail_is_the_same_on_both_sides(page):
    """A preview from the device and what the page itself makes of a brick."""
    store = BrickStore()
    store.take(changed(np.random.default_rng(1), 1))
    store.voxels[:, 0] &= 0xC0  # many are as bright as their neighbours
    slots = np.arange(store.count)
    script = """return words[0].map((brick) => {
      const to = new Uint8Array(128);
      viewer.bricks.reduce(viewer.bytes(brick), 8, 2, to, 0);
      return [...to];
    });"""
    reduced = page.js(script, [page.text(store.voxels[slot].tobytes()) for slot in slots])
    assert (np.array(reduced).reshape(-1, 2, 64) == store.half(slots)).all()


def test_a_torn_message_is_refused_and_changes_nothing(page):
    random = np.random.default_rng(3)
    feed, store = page.begin(), BrickStore()
    store.take(changed(random, page.epoch))
    feed.show(store, page.epoch, complete=True)
    page.take(sent(feed))
    before = held(page)
    store.take(changed(random, page.epoch))
    (message,) = sent(feed)
    page.take([message[:at] for at in (0, 1, 31, 32, 40, *random.integers(33, len(message), 40))])
    for at, form, values in ((1, "<B", (2, 255)), (24, "<I", (1, 10**9)), (28, "<I", (0, 10**9, 2**32 - 1))):
        for value in values:
            bent = bytearray(message)
            struct.pack_into(form, bent, at, value)
            page.take([bytes(bent)])
    refused, acked = page.js("return [viewer.refused, viewer.acked.length]")
    assert len(refused) == 45 + 7 and acked == 1
    assert not [text for text in refused if "Uncaught" in text]
    assert held(page) == before
    page.take([message])
    assert held(page) == store.crc32() != before


def test_what_lies_in_a_box_is_counted_in_millimetres(page):
    """A ball of bright voxels in dark ones: its volume from the voxels is that of its radius."""
    radius_mm, side = 9.0, 50
    at = (np.indices((side,) * 3) - (side - 1) / 2) * SPACING_MM
    inside = (at**2).sum(0) < radius_mm**2
    state = np.where(at[2] < 0, 1, 3).astype(np.uint8)
    page.show(block(np.where(inside, 200, 30).astype(np.uint8), state, origin_mm=(0.0, 0.0, 0.0)))
    box = {"min_mm": [-1, -1, -1], "max_mm": [side, side, side], "threshold": 100}
    found = page.js("return viewer.volume.region(words[0])", box)
    assert found["volume_mm3"] == pytest.approx(4 / 3 * np.pi * radius_mm**3, rel=0.01)
    assert found["voxels"] == inside.sum() and found["by_state"] == {
        "measured": inside.sum() / 2,
        "interpolated": 0,
        "filled": inside.sum() / 2,
    }
    half = page.js("return viewer.volume.region(words[0])", box | {"max_mm": [side, (side - 1) / 2 * SPACING_MM, side]})
    assert half["voxels"] == inside[:, : side // 2].sum()


def resident_mib(pid):
    """Of a process and all that it started."""
    total = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        for child in (thread / "children").read_text().split():
            total += resident_mib(child)
    rss = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")]
    return total + int(rss[0].split()[1]) / 1024


def resident(browser):
    """What the page's thread holds after a collection, and what all of the browser's processes hold."""
    browser.execute_cdp_cmd("HeapProfiler.collectGarbage", {})
    heap = browser.execute_cdp_cmd("Runtime.getHeapUsage", {})
    held = heap["usedSize"] + heap.get("embedderHeapUsedSize", 0) + heap.get("backingStorageSize", 0)
    return {"kib": held / 1024, "mib": resident_mib(browser.service.process.pid)}


@pytest.mark.timeout(120 + 4 * SWEEPS)
def test_sweep_after_sweep_needs_no_more_memory(page):
    """A short stand-in for an hour of sweeps: grow, look, throw away. SONOSWEEP_LEAK_SWEEPS says how often."""
    random = np.random.default_rng(9)
    feed, store, stages = page.begin(), BrickStore(), []
    feed.show(store, page.epoch, complete=True)
    for deep in (3, 10):
        store.load(block(random.integers(0, 256, (8 * deep, 40, 48), dtype=np.uint8)), 0)
        stages.append([page.text(message) for message in sent(feed)])
    small = {"x": 0, "y": 0, "width": 96, "height": 96}  # px: memory is what counts here
    page.set3d(box=True, triad=True, planes=True, rect=small)
    page.js("viewer.scene.slices.forEach((slice, n) => (slice.rect = n ? null : {...words[0], y: 96}))", small)
    full, empty, warm = [], [], SWEEPS // 3
    for sweep in range(SWEEPS):
        page.set3d(mode=("mip", "alpha", "iso")[sweep % 3])
        grown, thrown_away = page.js("return viewer.sweep(...words)", 10 + 2 * sweep, stages)
        full.append(grown)
        empty.append(thrown_away | (resident(page.browser) if sweep in (warm, SWEEPS - 1) else {}))
    assert full[0]["bricks"] == store.count and full[0]["worker_bytes"] >= 1024 * store.count
    assert full[0]["texture_bytes"] > 2 * 512 * store.count > 100 * empty[0]["texture_bytes"]
    for rows in (full, empty):
        for name in ("bricks", "worker_bytes", "texture_bytes"):
            assert {row[name] for row in rows} == {rows[0][name]}, name
        for name in ("Texture", "Framebuffer", "Buffer", "Sampler", "Program"):
            assert rows[-1][name] <= rows[warm][name] + 8, f"{name}s are made and not deleted"  # words are kept, up to a number
    assert empty[-1]["kib"] - empty[warm]["kib"] < 500
    assert empty[-1]["mib"] - empty[warm]["mib"] < 100
