"""Load-tests an endpoint:

python -m workers.image.test_load -n 100 -rps 0.5 -k "$API_KEY" -e "$ENDPOINT_NAME"
"""

from __future__ import annotations

from lib.test_utils import test_args, test_load_cmd
from workers.image.data_types import StylizeData

WORKER_ENDPOINT = "/stylize/json"

if __name__ == "__main__":
    test_load_cmd(StylizeData, WORKER_ENDPOINT, arg_parser=test_args)
