"""One link operates, and a tablet that comes back operates again: its new link may come before its old one is known to be dead."""

from types import SimpleNamespace

import pytest

from edge.tablet.lease import KEPT_S, Lease

NOW_S = 100.0


def link(name):
    return SimpleNamespace(name=name)


@pytest.fixture
def held():
    lease, old = Lease(), link("iPad")
    lease.take(old)
    return lease, old


def test_the_new_link_of_the_tablet_that_operates_does_so_at_once_and_the_old_ones_end_changes_nothing(held):
    lease, old = held
    new = link("iPad")
    lease.come(link("phone"), NOW_S)
    assert lease.holder is old
    lease.come(new, NOW_S)
    assert lease.holder is new
    lease.gone(old, [new], NOW_S + 10)
    assert lease.holder is new


def test_where_one_of_two_pages_of_a_tablet_ends_the_other_operates(held):
    lease, first = held
    second, phone = link("iPad"), link("phone")
    lease.come(second, NOW_S)
    lease.gone(second, [phone, first], NOW_S)
    assert lease.holder is first


@pytest.mark.parametrize(("after_s", "operates"), [(KEPT_S - 1, True), (KEPT_S + 1, False)])
def test_a_lost_link_keeps_it_for_a_minute(held, after_s, operates):
    lease, old = held
    lease.gone(old, set(), NOW_S)
    assert lease.holder is None
    new, phone = link("iPad"), link("phone")
    lease.come(phone, NOW_S + after_s)
    lease.come(new, NOW_S + after_s)
    assert (lease.holder is new) == operates


def test_who_takes_over_revokes_or_releases_ends_the_claim_of_a_lost_link(held):
    lease, old = held
    phone, new = link("phone"), link("iPad")
    lease.gone(old, set(), NOW_S)
    lease.take(phone)
    lease.release(new)
    assert lease.holder is phone, "not its to release"
    lease.release(phone)
    lease.come(new, NOW_S + 1)
    assert lease.holder is None
    lease.take(new)
    lease.gone(new, set(), NOW_S + 2)
    lease.revoke("iPad")
    lease.come(old, NOW_S + 3)
    assert lease.holder is None
