"""A keyword of start_server is misspelt."""

from pyworker import Backend, start_server

start_server(Backend("http://127.0.0.1:5001"), [], prot=3000)
