"""Which connections have to go, without any connection."""

from dataclasses import dataclass
from typing import Any

import pytest

from service.http.connections import Connections, whose


@dataclass(eq=False)
class Some:
    """A connection with so many bytes that are not fetched; it is its own transport."""

    unsent: int = 0

    @property
    def transport(self) -> Any:
        """Itself."""
        return self

    def get_write_buffer_size(self) -> int:
        """See `asyncio.WriteTransport`."""
        return self.unsent


def test_those_that_have_been_idle_longest_go_and_are_not_counted_until_they_are_closed() -> None:
    """One that works stays, and begins anew when it rests; one that has to go is not told so twice."""
    shared: Connections[Some] = Connections()
    first, second, third, fourth = every = [Some() for _ in range(4)]
    for one in every:
        shared.rests(one)
    shared.works(first)
    shared.rests(first)
    assert shared.surplus(4, 3) == [second]
    assert shared.surplus(4, 3) == []
    shared.rests(second)  # its answer was on its way
    for one in (first, third, fourth):
        shared.works(one)
        shared.rests(one)
    assert shared.surplus(4, 1) == [first, third]
    for one in (first, second, third):
        shared.closed(one)
    assert shared.surplus(1, 1) == []
    assert shared.surplus(1, 0) == [fourth]


def test_of_unread_answers_the_first_go_and_a_single_one_stays() -> None:
    """Until the others fit; who fetches is not among them."""
    shared: Connections[Some] = Connections()
    eager, first, second, last = Some(90), Some(50), Some(40), Some(30)
    for one in (eager, first, second, last):
        shared.fills(one)
    shared.empties(eager)
    assert shared.unfetched(120) == []
    assert shared.unfetched(70) == [first]
    assert shared.unfetched(0) == [second]
    assert shared.unfetched(0) == []


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("::ffff:c000:208", "192.0.2.8"),
        ("2001:db8:1:2::7", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::7", "2001:db8:1:3::/64"),
        ("::1", "::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("somewhere", "somewhere"),
    ],
)
def test_a_host_with_a_network_of_ipv6_is_one_client(address: str, client: str) -> None:
    """It has as many addresses as it likes; those of IPv4 are single ones."""
    assert whose(address) == client
