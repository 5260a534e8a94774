# pyright: basic
from dataclasses import asdict, dataclass

from lib.data_types import ApiPayload, AuthData, EndpointHandler, JsonDataException, ModelMetrics, SystemMetrics

assert ModelMetrics is not SystemMetrics


@dataclass
class Payload(ApiPayload):
    prompt: str

    @classmethod
    def for_test(cls):
        return cls("test")

    def count_workload(self):
        return 1.0


@dataclass
class Handler(EndpointHandler[Payload]):
    @classmethod
    def payload_cls(cls):
        return Payload

    def make_benchmark_payload(self):
        return Payload.for_test()

    def generate_payload_json(self, payload):
        return {"inputs": asdict(payload)["prompt"], "by": "the handler"}

    @classmethod
    def get_data_from_request(cls, req_data):
        if "auth_data" not in req_data:
            raise JsonDataException({"auth_data": "field missing"})
        data = req_data["auth_data"]
        auth = AuthData(**{name: data[name] for name in ("cost", "endpoint", "reqnum", "url", "signature")})
        return auth, Payload(req_data["payload"]["prompt"])
