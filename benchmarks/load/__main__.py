"""``python -m benchmarks.load``: a plan on stdin, its figures on stdout, both JSON."""

import sys

import msgspec
import uvloop

from benchmarks.load.plan import Plan
from benchmarks.load.run import run

plan = msgspec.json.decode(sys.stdin.buffer.read(), type=Plan)
sys.stdout.buffer.write(msgspec.json.encode(uvloop.run(run(plan))))
