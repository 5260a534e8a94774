# pyright: basic
import dataclasses
import random

from lib.data_types import ApiPayload, JsonDataException

try:
    import nltk_that_nobody_has as nltk
except ImportError:
    nltk = None


def words(count):
    if nltk is not None:
        return nltk.corpus.words.words()[:count]
    return [str(random.randrange(10**6)) for _ in range(count)]


@dataclasses.dataclass
class InputData(ApiPayload):
    prompt: str
    max_response_tokens: int = 100

    @classmethod
    def for_test(cls):
        return cls(" ".join(words(50)))

    def generate_payload_json(self):
        return {"inputs": self.prompt, "n": self.max_response_tokens}

    def count_workload(self):
        return float(len(self.prompt.split()))

    @classmethod
    def from_json_msg(cls, json_msg):
        if "prompt" not in json_msg:
            raise JsonDataException({"prompt": "missing parameter"})
        return cls(**json_msg)
