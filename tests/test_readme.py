"""The README's code does what the README says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
EXAMPLE, CLIENT = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def _run(code: str, folder: Path) -> str:
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    return ran.stdout


def test_the_first_lines_print_what_comes_out_and_a_server_goes_on_from_there(tmp_path: Path) -> None:
    shown = re.search(r"What comes out:\n\n```\n(.*?)```", README, re.DOTALL)
    assert shown is not None
    assert _without_instants(_run(EXAMPLE, tmp_path)) == _without_instants(shown.group(1))
    server = subprocess.Popen(
        [sys.executable, "-m", "featurestore", "serve", "--port", "0"],
        cwd=tmp_path / "shop",
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        address = server.stdout.readline().split(" at ")[1].split(",")[0]
        assert _run(CLIENT.replace("127.0.0.1:6566", address), tmp_path) == "{'total': [10.5], 'orders': [2]}\n"
    finally:
        server.terminate()
        server.communicate(timeout=30)


def _without_instants(text: str) -> list[str]:
    lines = []
    for line in text.splitlines():
        # The width of the column follows the instant's digits.
        line = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)? UTC *", "INSTANT ", line)
        lines.append(re.sub(r"[─═┬┼┪╪┴ ┌┐└┘╞╡│┆-]+", " ", line).strip())
    return [line for line in lines if line]
