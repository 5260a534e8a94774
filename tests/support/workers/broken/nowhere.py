"""A worker that names no model server."""

from pyworker import Backend, PassThroughHandler, start_server

backend = Backend(fixed_throughput=1.0)
start_server(backend, backend.routes(PassThroughHandler("/generate")))
