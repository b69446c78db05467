"""What a tablet is sent: the newest first, in small pieces, and at the end exactly what the device has."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from link_client import LinkClient

from edge.files.volumes import Volume
from edge.messages import Bricks
from edge.tablet import wire
from edge.tablet.feed import BRICKS, BRICKS_OPEN, FEWEST_BRICKS, IMAGES_OPEN, LATE_S, NEW_TO_IT, SILENT_S, WAITED_S, ClientFeed, Picture
from edge.tablet.store import BrickStore, BrickTooFar

GREY = np.zeros((480, 640), np.uint8)


def picture(sequence=5):
    return Picture(sequence, 1, 100.0, (0.1, 0.2), GREY)


def bricks(coords, rng, channel=0, share=0.5):
    n = len(coords)
    state = (rng.random((n, 8, 8, 8)) < share).astype(np.uint8)
    state[:, 0, 0, 0] = 1
    intensity = rng.integers(0, 256, state.shape, np.uint8) * (state > 0)
    return Bricks(
        boot_id=1, sweep=1, sequence=0, epoch=9, channel=channel, channel_name="ultrasound", spacing_mm=0.5, timestamp_ns=0, received_ns=0,
        coords=np.array(coords, np.int32), intensity=intensity.astype(np.uint8), state=state,
    )  # fmt: skip


def sent_to(feed, client, now=0.0, ack=True):
    """Everything that goes now; answers the messages' (type, seq)."""
    seen = []
    while (message := feed.next_image(now) or feed.next_bricks(now)) is not None:
        seen.append(client.take(message))
        if ack:
            feed.ack(*seen[-1], now)
    return seen


def pair(complete=False):
    store, feed, client = BrickStore(), ClientFeed(), LinkClient()
    feed.show(store, 9, complete=complete)
    client.show(9)
    return store, feed, client


def test_the_tablet_ends_with_the_same_checksum_as_the_device():
    store, feed, client = pair()
    rng = np.random.default_rng(1)
    for step in range(20):
        store.take(bricks([(x, -2, step // 3) for x in range(-5, 30)], rng, channel=step % 2))
        sent_to(feed, client, step)
    assert feed.up_to_date
    assert client.crc32() == store.crc32() and client.crc32()[1] > 100


def test_a_volume_larger_than_what_was_reserved_for_it(monkeypatch):
    for module in ("store", "feed"):
        monkeypatch.setattr(f"edge.tablet.{module}.RESERVED", 4)
    test_the_tablet_ends_with_the_same_checksum_as_the_device()


def test_only_what_changed_travels():
    store, feed, client = pair()
    rng = np.random.default_rng(1)
    first = bricks([(0, 0, 0)], rng)
    store.take(first)
    sent_to(feed, client)
    intensity = first.intensity.copy()
    intensity[0, 3, 2, 1] ^= 255
    store.take(Bricks(**{f: getattr(first, f) for f in first.__struct_fields__} | {"intensity": intensity}))
    message = wire.decode(feed.next_bricks(1.0))
    masks = np.frombuffer(message.payload[6:70], np.uint8)
    assert np.flatnonzero(np.unpackbits(masks, bitorder="little")).tolist() == [1 + 8 * 2 + 64 * 3]
    assert message.payload[70:] == bytes([intensity[0, 3, 2, 1], first.state[0, 3, 2, 1]])


def test_the_newest_bricks_go_first():
    store, feed, _ = pair()
    rng = np.random.default_rng(1)
    for x in range(300):
        store.take(bricks([(x, 0, 0)], rng))
    first = wire.decode(feed.next_bricks(0.0))
    xs = np.frombuffer(first.payload[: 6 * first.items], "<i2").reshape(-1, 3)[:, 0].tolist()
    assert xs == list(range(299, 171, -1))


def test_no_more_than_the_credit_is_ever_under_way():
    store, feed, client = pair()
    store.take(bricks([(x, y, 0) for x in range(30) for y in range(30)], np.random.default_rng(1)))
    seen = []
    for n in range(IMAGES_OPEN):
        feed.offer(picture(), float(n))
        seen += sent_to(feed, client, float(n), ack=False)
    feed.offer(picture(), 5.0)
    assert sent_to(feed, client, 5.0, ack=False) == []
    assert [kind for kind, _ in seen].count("I") == IMAGES_OPEN and len(seen) - IMAGES_OPEN == BRICKS_OPEN
    feed.ack(*seen[0], 5.0)
    feed.ack(*seen[0], 5.0)
    feed.ack("V", 12345, 5.0)
    assert len(sent_to(feed, client, 5.0, ack=False)) == 1


def test_a_newer_image_takes_the_place_of_one_that_waits():
    _, feed, client = pair()
    feed.offer(picture(0), 0.0)
    sent_to(feed, client)
    for sequence in range(1, 9):  # far above the rate that is allowed
        feed.offer(picture(sequence), 0.001)
    sent_to(feed, client, 1 / 30)
    assert [one[0] for one in client.images] == [0, 1, 8] and client.images[2][1:4] == (1, 640, 480)


def test_a_tablet_out_of_breath_for_a_moment_gets_every_image_and_none_that_is_old():
    _, feed, client = pair()

    def images(numbers):
        for n in numbers:
            feed.offer(picture(n), n / 30)
            sent.extend(sent_to(feed, client, n / 30, ack=False))

    def answer(now):
        for one in sent:
            feed.ack(*one, now)
        sent[:] = sent_to(feed, client, now, ack=False)

    sent = []
    images(range(IMAGES_OPEN + 2))
    answer((IMAGES_OPEN + 2) / 30)
    assert [one[0] for one in client.images] == list(range(IMAGES_OPEN + 2))
    images(range(10, 30))
    answer(1.0)
    assert all(1.0 - one[0] / 30 <= WAITED_S for one in client.images[-2:]) and client.images[-1][0] == 29
    assert len(client.images) < 20


def test_messages_of_bricks_become_small_on_a_slow_link_and_large_again_on_a_quick_one():
    store, feed, client = pair()
    rng = np.random.default_rng(1)
    store.take(bricks([(x, y, 0) for x in range(20) for y in range(20)], rng))
    sent_to(feed, client)

    def last_size(took_s):
        for _ in range(12):
            store.take(bricks([(x, y, 0) for x in range(20) for y in range(20)], rng))
            message = feed.next_bricks(100.0)
            feed.ack(*client.take(message), 100.0 + took_s)
        return wire.decode(message).items

    assert last_size(0.2) == FEWEST_BRICKS
    assert last_size(0.001) == BRICKS


def test_bricks_hold_back_while_images_are_late():
    store, feed, client = pair()
    store.take(bricks([(x, y, 0) for x in range(30) for y in range(30)], np.random.default_rng(1)))
    feed.offer(picture(), 0.0)
    feed.ack(*client.take(feed.next_image(0.0)), LATE_S + 0.01)
    assert len(sent_to(feed, client, 1.0, ack=False)) == 1
    feed.offer(picture(), 2.0)
    feed.ack(*client.take(feed.next_image(2.0)), 2.01)
    assert len(sent_to(feed, client, 2.02, ack=False)) == BRICKS_OPEN - 1


def test_images_that_come_unevenly_all_go_at_the_rate_that_is_allowed():
    _, feed, client = pair()
    rng = random.Random(1)
    sent, comes = 0, 0.0
    for sequence in range(90):
        comes = sequence / 30 + rng.uniform(0, 0.012)
        feed.offer(picture(sequence), comes)
        assert feed.image_in(comes) < 1 / 30
        sent += len(sent_to(feed, client, comes + feed.image_in(comes)))
    assert sent == 90
    for hurry in range(30):
        feed.offer(picture(hurry), comes + hurry / 300)
        sent_to(feed, client, comes + hurry / 300)
    assert len(client.images) - sent <= 5


def test_an_image_is_encoded_once_for_all_tablets_of_a_quality(monkeypatch):
    made = []
    monkeypatch.setattr("edge.tablet.feed.jpeg", lambda grey, quality: made.append(quality) or b"jpeg")
    one = picture()
    for mode in ("full", "half", "full", "half"):
        feed = ClientFeed()
        feed.mode = mode
        feed.offer(one, 0.0)
        assert feed.next_image(0.0)
    assert made == [75, 60]


def test_a_tablet_that_comes_late_sees_a_rough_volume_before_the_fine_one():
    store, feed, client = pair()
    places = [(x, y, z) for x in range(9) for y in range(9) for z in range(9)]
    assert len(places) > NEW_TO_IT
    store.take(bricks(places, np.random.default_rng(2)))
    kinds = [kind for kind, _ in sent_to(feed, client)]
    assert kinds[0] == "S" and "V" in kinds and client.crc32() == store.crc32()


def test_a_cell_is_the_brightest_voxel_that_holds_something():
    store, feed, client = pair()
    feed.mode = "half"
    one = bricks([(4, 5, 6)], np.random.default_rng(3), share=0.1)
    store.take(one)
    sent_to(feed, client)
    rough = client.rough[0, 6, 5, 4]
    for cell in range(64):
        a, b, c = cell & 3, cell >> 2 & 3, cell >> 4
        here = np.s_[0, 2 * c : 2 * c + 2, 2 * b : 2 * b + 2, 2 * a : 2 * a + 2]
        held = one.state[here] > 0
        assert rough[0][cell] == (one.intensity[here][held].max() if held.any() else 0)
        assert (rough[1][cell] > 0) == held.any()
    assert not client.bricks


@pytest.mark.parametrize("mode", ["half", "frames"])
def test_full_detail_follows_when_the_sweep_is_over_however_slow_the_link(mode):
    store, feed, client = pair()
    feed.mode = mode
    store.take(bricks([(x, 0, 0) for x in range(9)], np.random.default_rng(2)))
    sent_to(feed, client)
    assert not client.bricks and not feed.up_to_date
    feed.complete = True
    sent_to(feed, client)
    assert client.crc32() == store.crc32() and feed.up_to_date


def test_a_slow_link_steps_down_and_a_quick_one_up_again():
    _, feed, client = pair()
    now = 0.0

    def answers(took_s, seconds):
        nonlocal now
        until = now + seconds
        while now < until:
            feed.offer(picture(), now)
            if message := feed.next_image(now):
                feed.ack(*client.take(message), now + took_s)
            now += max(took_s, 0.05)
        return feed.quality

    assert answers(0.02, 10) == "full"
    assert answers(0.5, 3.5) == "half"
    assert answers(0.5, 30) == "frames"
    assert answers(0.02, 60) == "full"
    feed.mode = "frames"
    assert feed.quality == "frames"


def test_a_tablet_that_does_not_answer_is_found():
    store, feed, client = pair()
    store.take(bricks([(0, 0, 0)], np.random.default_rng(2)))
    sent_to(feed, client, 0.0, ack=False)
    assert not feed.overdue(SILENT_S - 1) and feed.overdue(SILENT_S + 1)


def test_a_wrong_checksum_is_mended_by_sending_everything_again():
    store, feed, client = pair(complete=True)
    store.take(bricks([(x, 0, 0) for x in range(40)], np.random.default_rng(2)))
    sent_to(feed, client)
    client.bricks[0, 0, 0, 3][0][0] ^= 1
    assert client.crc32() != store.crc32()
    feed.show(store, 9, complete=True)  # as the gateway does
    client.show(9)
    sent_to(feed, client)
    assert client.crc32() == store.crc32()


def test_a_torn_chain_of_poses_is_refused_by_name():
    with pytest.raises(BrickTooFar, match="start a new one"):
        BrickStore().take(bricks([(1, 40_000, 0)], np.random.default_rng(2)))


@pytest.mark.parametrize("states", [True, False])
def test_a_saved_volume_becomes_the_same_bricks(states):
    rng = np.random.default_rng(5)
    state = (rng.random((19, 11, 23)) < 0.4).astype(np.uint8) * 2
    intensity = (rng.integers(1, 256, state.shape) * (state > 0)).astype(np.uint8)
    store = BrickStore()
    origin = (-3.5, 2.0, -0.5)
    store.load(Volume(intensity, origin, 0.5, {}, state if states else np.zeros((0, 0, 0), np.uint8)), 1)
    dense = {}
    for slot in range(store.count):
        assert store.channel[slot] == 1
        x, y, z = 8 * store.coords[slot].astype(int)
        for p in np.flatnonzero(store.voxels[slot, 1]).tolist():
            dense[x + (p & 7), y + (p >> 3 & 7), z + (p >> 6)] = store.voxels[slot, 0, p], store.voxels[slot, 1, p]
    k, j, i = np.nonzero(state)
    expected = {
        (a - 7, b + 4, c - 1): (intensity[c, b, a], 2 if states else 1) for a, b, c in zip(i.tolist(), j.tolist(), k.tolist(), strict=True)
    }
    assert dense == expected


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.lists(st.sampled_from(["change", "send", "lose", "half", "full", "frames", "epoch"]), max_size=25))
def test_any_order_of_changes_and_delays_ends_in_the_same_volume(seed, events):
    rng, dice = np.random.default_rng(seed), random.Random(seed)
    store, feed, client = pair()
    under_way, now, epoch = [], 0.0, 9
    for event in events:
        now += 0.1
        if event == "change":
            store.take(bricks([(dice.randrange(4), dice.randrange(3), 0) for _ in range(1)], rng, channel=dice.randrange(2), share=0.05))
        elif event == "send" and (message := feed.next_bricks(now)):
            under_way.append(client.take(message))
        elif event == "lose" and under_way:
            feed.ack(*under_way.pop(0), now)
        elif event in ("half", "full", "frames"):
            feed.mode = event
        elif event == "epoch":
            epoch += 1
            store = BrickStore()
            feed.show(store, epoch, complete=False)
            client.show(epoch)
    for one in under_way:
        feed.ack(*one, now)
    feed.complete = True
    sent_to(feed, client, now)
    assert client.crc32() == store.crc32() and feed.up_to_date


@pytest.mark.parametrize(("per_s", "most", "kinds"), [(20, 10, 2), (30, 10, 3), (60, 30, 2), (20, 10, 4), (30, 10, 2)])
@pytest.mark.parametrize("jitter_s", [0.0, 0.002, 0.008])
def test_light_takes_no_image_of_ultrasound_away_however_few_are_allowed(per_s, most, kinds, jitter_s):
    luck, feed = random.Random(1), ClientFeed(most)
    offers = [(n / per_s + luck.random() * jitter_s, n) for n in range(20 * per_s)]
    flags = [0, *(wire.photoacoustic(700.0 + 50 * n) for n in range(1, kinds))]
    shown = {kind: [0.0] for kind in flags}
    for n in range(5000):
        now = n * 0.004
        while offers and offers[0][0] <= now:
            at, sequence = offers.pop(0)
            feed.offer(Picture(sequence, flags[sequence % kinds] | sequence // 40 % 2, 0.0, (1, 1), GREY[:4, :4]), at)
        while (message := feed.next_image(now)) is not None:
            told = wire.decode(message)
            shown[told.flags & ~wire.IN_SWEEP].append(now)
            feed.ack("I", told.seq, now)
    gaps = {kind: max(np.diff([*times, 20.0])) for kind, times in shown.items()}
    share = min(per_s, most) / kinds
    assert gaps[0] < 2.5 / share + jitter_s, "ultrasound comes as often as its share of what is allowed"
    assert max(gaps.values()) < 4 / share + jitter_s, gaps
    sent = sum(len(times) - 1 for times in shown.values())
    assert sent <= 20 * most + 2 * kinds, "no more than is allowed"
