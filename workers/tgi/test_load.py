"""Load-tests an endpoint:

python -m workers.tgi.test_load -n 1000 -rps 0.5 -k "$API_KEY" -e "$ENDPOINT_NAME"
"""

from __future__ import annotations

from lib.test_utils import test_args, test_load_cmd
from workers.tgi.data_types import GenerateData

WORKER_ENDPOINT = "/generate"

if __name__ == "__main__":
    test_load_cmd(GenerateData, WORKER_ENDPOINT, arg_parser=test_args)
