"""Prompts for benchmarks and load tests, of which no two begin alike.

Model servers keep what they have computed for the beginning of a prompt, in blocks of some 16 tokens. A prompt that is
random from its first word on finds nothing there: two begin with the same eight words once in 10**19 times.
"""

from __future__ import annotations

import random
from typing import Final

__all__ = ["random_prompt"]

_TEXT: Final = (
    "able acid aged also anchor apple arch area army atom autumn baby back ball band bank barn base bath bean bear "
    "beat bell belt bend bird blue boat body bold bone book boot born bowl brave bread brick bridge broad brown "
    "brush cake calm camp candle card care cart case cave chain chair chalk cheap cheese chess child circle city "
    "clay clean clear clerk clock cloth cloud coal coast coat cold comb cook copper coral corn cotton cover crane "
    "cream crop crowd crown cup curve dance dark dawn day deep deer desk dish dog door double dozen draw dream "
    "dress drift drum dry duck dust eagle ear early earth east easy echo edge egg empty engine evening face fair "
    "farm fast father feather fence fern field fire fish flag flat floor flour flower foam fog fold food foot "
    "forest fork fox frame free fresh frost fruit garden gate gift glass goat gold grain grass green ground guest "
    "hall hammer hand harbour harvest hat hay heart heavy hill honey horse hour house ice idea iron island ivory "
    "jacket jar journey juice kettle key kind king kitchen kite knee ladder lake lamp land lane large leaf lemon "
    "letter light lime line lion long lunch machine maple market meadow metal milk mill mirror moon morning moss "
    "mother mountain mouse music nail narrow needle nest night north nut oak oat ocean old olive onion open orange "
    "oven owl page paint paper path pear pen pepper piano pine plain plate plum pocket pond potato quick quiet "
    "rabbit rain red rice ring river road roof room root rope rose round salt sand sea seed shade sheep shell ship "
    "shoe silk silver sky slow small snow soap soft song south spoon spring square stable star steam steel stone "
    "storm street sugar summer sun table tail tall tea tent thin thread tide tiger timber tower train tree turn "
    "valley village violin voice wagon walk wall warm water wave west wheat wheel white wide wild wind window wine "
    "winter wolf wood wool word yard year yellow young"
)
_WORDS: Final = _TEXT.split()


def random_prompt(words: int) -> str:
    """``words`` common English words at random, most of them one token each."""
    return " ".join(random.choices(_WORDS, k=words))  # noqa: S311 - no secrets
