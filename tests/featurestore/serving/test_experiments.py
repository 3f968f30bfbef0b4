"""What a server asks of gRPC is known to gRPC, asked in time, and nobody's own choice is overruled."""

from __future__ import annotations

import subprocess
import sys

from featurestore.serving.experiments import choose_listener

#: Chooses as the command does, and starts a server of gRPC's.
PROGRAM = """
import asyncio, os, sys
import featurestore.cli.serving
from featurestore.serving.experiments import choose_listener

assert "grpc" not in sys.modules
choose_listener(os.environ)
import grpc

async def main():
    server = grpc.aio.server()
    server.add_insecure_port("127.0.0.1:0")
    await server.start()
    await server.stop(None)

asyncio.run(main())
"""


def test_the_listener_is_chosen_before_grpc_is_loaded_and_grpc_knows_it() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    # Of an experiment that it does not know, or no longer, gRPC says so here.
    assert (done.returncode, done.stderr) == (0, "")


def test_what_somebody_chose_stays() -> None:
    nobody: dict[str, str] = {}
    choose_listener(nobody)
    assert nobody == {"GRPC_EXPERIMENTS": "-event_engine_listener"}
    somebody = {"GRPC_EXPERIMENTS": "tcp_rcv_lowat"}
    choose_listener(somebody)
    assert somebody == {"GRPC_EXPERIMENTS": "tcp_rcv_lowat"}
