"""A keyword of Backend is misspelt."""

from pyworker import Backend, start_server

backend = Backend("http://127.0.0.1:5001", alow_parallel_requests=True)  # pyright: ignore[reportCallIssue]
start_server(backend, [])
