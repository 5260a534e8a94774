"""Sockets and what the system is told of them."""

from __future__ import annotations

import socket

import pytest

from pyworker.net import end_when_silent


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="only Linux can be told")
def test_a_client_whose_machine_is_gone_is_given_up_in_minutes() -> None:
    with socket.socket() as sock:
        end_when_silent(sock)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 120_000


def test_where_there_is_no_such_socket_nothing_happens() -> None:
    end_when_silent(None)
    with socket.socket(socket.AF_UNIX) as sock:
        end_when_silent(sock)
