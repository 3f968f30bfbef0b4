"""``python mixed_load.py FOLDER MINUTES``: a server under all at once, as much as some minutes bring, in less time.

Rows are pushed, loaded and materialized; versions are applied, become a canary, are promoted and rolled back; tables
and the online store's file are written anew; rows are looked up over several connections. It ends with an error when
one call fails or one answer is wrong, or when the memory of the workers grows; else it prints what it did, as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from served_shop import Truth, begin
from serving_load import Load, Server, Writer

#: What one minute brings.
MINUTE = {"lookups": 1_500, "pushes": 120, "materialized": 1, "switch": 2}
#: After this share of the work, memory has to stay as it is.
WARM = 0.4
GROWTH = 48 << 20


def main(folder: Path, minutes: float) -> None:
    """Load, check, and count."""
    wanted = {name: max(1, round(count * minutes)) for name, count in MINUTE.items()}
    begin(folder)
    truth, server = Truth(), Server(folder)
    server.start()
    writers: list[Writer] = []
    started = time.monotonic()
    warm = 0
    try:
        writers += [Writer(folder, role, truth) for role in ("load", "switch")]
        with Load(server.address, truth) as load:
            while True:
                load.check()
                for one in writers:
                    one.check()
                done = sum((one.done for one in writers), load.done.copy())
                share = min(done[name] / count for name, count in wanted.items())
                if share >= WARM and not warm:
                    warm = server.memory()
                if share >= 1:
                    break
                time.sleep(0.2)
            load.check()
        grown = server.memory() - warm
    finally:
        for one in writers:
            one.kill()
        server.stop()
    seconds = time.monotonic() - started
    found = sum((one.done for one in writers), load.done)
    assert server.troubles() == []
    told = {"minutes": minutes, "seconds": round(seconds)} | dict(sorted(found.items()))
    told |= {"versions that answered": len(truth.versions), **truth.compare(folder)}
    told |= {"memory of the workers when warm, MiB": warm >> 20, "grown by, KiB": grown >> 10}
    sys.stdout.write(json.dumps(told) + "\n")
    assert grown < GROWTH


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]))
