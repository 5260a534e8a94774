"""Two handlers at one route."""

from pyworker import Backend, PassThroughHandler, start_server

backend = Backend("http://127.0.0.1:5001", fixed_throughput=1.0)
start_server(backend, backend.routes(PassThroughHandler("/generate"), PassThroughHandler("/generate")))
