import socket

import pytest

from trainer.distributed import heartbeat_peer
from trainer.distributed.heartbeat_peer import Peer


def address_of(host):
    with heartbeat_peer.listener(host) as listener:
        return listener.getsockname()[0]


ALL = ("::", "0.0.0.0")


@pytest.fixture
def names(monkeypatch):
    """Returns the addresses of names, which a test may add to."""
    known = {}
    real = socket.getaddrinfo

    def resolve(host, *args, **kwargs):
        if host not in known:
            return real(host, *args, **kwargs)
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, 0)) for a in known[host]
        ]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return known


def test_it_listens_at_the_address_that_is_named():
    assert address_of("127.0.0.3") == "127.0.0.3"
    assert address_of("localhost") in ("127.0.0.1", "::1")


def test_it_listens_at_the_address_of_a_name(names, monkeypatch):
    names["node1"] = ["10.9.8.7"]
    asked = []

    def create_server(address, **_):
        asked.append(address)
        return socket.socket()

    monkeypatch.setattr(socket, "create_server", create_server)
    heartbeat_peer.listener("node1").close()
    assert asked == [("10.9.8.7", 0)]


def test_it_listens_at_all_addresses_where_none_is_sure(names):
    # A machine's own name in Debian's /etc/hosts, one of two networks, and a service
    # that passes connections on.
    names |= {
        "own": ["127.0.1.1"],
        "both": ["127.0.0.1", "127.0.0.2"],
        "service": ["192.0.2.1"],
    }
    for host in (*names, "", "a..b", "x" * 70):
        assert address_of(host) in ALL, host


@pytest.fixture
def pair():
    here, there = socket.socketpair()
    with here, there:
        yield Peer(here), there


def test_lines_come_whole(pair):
    peer, there = pair
    assert peer.words() == []
    there.sendall(b"hello 42 1\n\nle")
    assert peer.words() == [["hello", "42", "1"], [""]]
    there.sendall(b"ft\n")
    assert peer.words() == [["left"]]
    there.close()
    assert peer.words() is None
    assert not peer.is_closed


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_line_without_an_end_ends_the_connection(pair, end):
    peer, there = pair
    there.sendall(b"x" * 1000)
    assert peer.words() == []
    there.sendall(b"x" * 25 + end)
    assert peer.words() is None
