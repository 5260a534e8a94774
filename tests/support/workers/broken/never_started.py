"""A worker that is made and never started."""

from pyworker import Backend

backend = Backend(fixed_throughput=1.0)
