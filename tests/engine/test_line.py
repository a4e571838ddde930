"""The line in front of the slots: whose turn it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.line import Line


def line_of(*places):
    """A line that these joined in this order; a place is the name of its client and a number."""
    line: Line[str] = Line()
    for place in places:
        line.join(place, place[0])
    return line


def served(line):
    return [line.pop() for _ in range(len(line))]


def test_clients_take_turns():
    """A client that came late with one job does not wait for all jobs of the first one."""
    assert served(line_of("a1", "a2", "a3", "b1", "c1", "b2")) == ["a1", "b1", "c1", "a2", "b2", "a3"]


def test_who_joins_again_waits_for_the_others_turns():
    """A client gains nothing by sending its jobs one by one."""
    line = line_of("a1", "b1", "b2")
    assert line.pop() == "a1"
    line.join("a2", "a")
    assert served(line) == ["b1", "a2", "b2"]


def test_who_is_in_the_middle_of_a_job_goes_on_before_its_clients_other_jobs():
    line = line_of("a1", "a2", "b1")
    line.join_first("a0", "a")
    assert served(line) == ["a0", "b1", "a1", "a2"]


def test_others_wait_where_a_place_is_not_the_clients_own():
    line = line_of("a1")
    assert [line.others_wait(client) for client in "ab"] == [False, True]
    line.join_ahead("a9")
    assert line.others_wait("a")


def test_who_comes_back_goes_ahead_of_everybody():
    line = line_of("a1", "b1")
    line.join_ahead("c9")
    assert served(line) == ["c9", "a1", "b1"]


def test_who_leaves_is_gone_and_who_left_cannot_leave_again():
    line = line_of("a1", "b1", "a2")
    line.join_ahead("a9")
    assert line.leave("a1", "a")
    assert line.leave("a9", "a")
    assert not line.leave("a1", "a")
    assert not line.leave("b1", "a")
    assert sorted(served(line)) == ["a2", "b1"]


def test_an_empty_line_has_no_next_one():
    with pytest.raises(LookupError):
        line_of().pop()


@given(st.lists(st.sampled_from("abc")))
def test_everybody_is_served_once_and_each_client_in_its_own_order(clients):
    places = [f"{client}{number}" for number, client in enumerate(clients)]
    order = served(line_of(*places))
    assert sorted(order) == sorted(places)
    for client in "abc":
        own = [place for place in order if place[0] == client]
        assert own == [place for place in places if place[0] == client]


@given(st.lists(st.sampled_from("abc"), min_size=1))
def test_nobody_is_ahead_of_another_by_more_than_a_turn(clients):
    """Among clients that still have jobs in line, the numbers served so far differ by one at most."""
    left = {client: clients.count(client) for client in set(clients)}
    done = dict.fromkeys(left, 0)
    for place in served(line_of(*clients)):
        done[place] += 1
        waiting = [done[client] for client in left if done[client] < left[client]]
        assert not waiting or max(waiting) - min(waiting) <= 1
