"""Telling people which name they meant."""

from __future__ import annotations

import pytest

from pyworker.errors import ConfigurationError
from pyworker.names import refuse_unknown

KNOWN = ["port", "host", "env"]


def test_known_names_and_none_at_all_are_fine() -> None:
    refuse_unknown("start_server", [], KNOWN)


def test_the_nearest_name_is_suggested() -> None:
    with pytest.raises(ConfigurationError, match="start_server has no keyword 'prot': did you mean 'port'"):
        refuse_unknown("start_server", ["prot"], KNOWN)


def test_where_none_is_near_all_are_listed() -> None:
    with pytest.raises(ConfigurationError, match="no keyword 'certificate': it takes env, host, port"):
        refuse_unknown("start_server", ["certificate"], KNOWN)


def test_all_unknown_names_are_said_at_once() -> None:
    with pytest.raises(ConfigurationError, match=r"'prot'.*; .*'hots'"):
        refuse_unknown("start_server", ["prot", "hots"], KNOWN)
