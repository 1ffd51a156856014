"""Prints the instruction sets that the other side's libraries use here, as a JSON object.

python -m harness.peer_isa
"""

import json
import os
import re
import subprocess
import sys

USES_ONEDNN = "import torch; torch.ones(8, 8).to_mkldnn().to_dense()"


def onednn():
    """What oneDNN says in a process of its own, as it says it once."""
    done = subprocess.run(
        [sys.executable, "-c", USES_ONEDNN],
        env={**os.environ, "ONEDNN_VERBOSE": "1"},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    found = re.search(r"info,cpu,isa:(.*)", done.stdout)
    return found[1] if found else "unknown"


def main():
    import faiss
    import torch
    from threadpoolctl import threadpool_info

    blas = {entry.get("architecture") for entry in threadpool_info() if entry["user_api"] == "blas"}
    libraries = {
        "torch": torch.backends.cpu.get_cpu_capability(),
        "oneDNN": onednn(),
        "OpenBLAS": ", ".join(sorted(name for name in blas if name)) or "unknown",
        "FAISS": faiss.SIMDConfig.get_level_name(),
        "ONNX Runtime": "the machine's best",
    }
    print(json.dumps(libraries))


if __name__ == "__main__":
    main()
