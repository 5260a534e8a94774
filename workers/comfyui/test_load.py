"""Load-tests an endpoint:

python -m workers.comfyui.test_load -n 20 -rps 0.05 -k "$API_KEY" -e "$ENDPOINT_NAME"
"""

from __future__ import annotations

from lib.test_utils import test_args, test_load_cmd
from workers.comfyui.data_types import PromptData

WORKER_ENDPOINT = "/prompt"

if __name__ == "__main__":
    test_load_cmd(PromptData, WORKER_ENDPOINT, arg_parser=test_args)
