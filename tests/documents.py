"""Documents as programs: their blocks of code, what has become of each, and a walk through a page as a reader takes it.

A block is run, or it says why not, in a comment before it: ``<!-- not run: it needs a server -->``. Blocks of ``text``
are no code: drawings, and what something prints. What is run is written down in :data:`RAN`, so that a test can count.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import select
import shlex
import subprocess
import sys
import textwrap
import types
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from featurestore import config
from tests import forking

ROOT = Path(__file__).parent.parent
#: The server's address in documents; tests put their own in its place.
ADDRESS = "127.0.0.1:6566"
#: Blocks of these are for the eye.
SHOWN = frozenset({"text"})

_BLOCK = re.compile(
    r"(?:^ *<!-- not run: (?P<reason>[^>]+) -->\n)?^ *```(?P<language>\w*)\n(?P<text>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)
_COMMAND = re.compile(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A block of code of a document; ``reason`` says why it is not run."""

    document: str
    number: int
    language: str
    text: str
    reason: str


#: What tests have run, or had read by what reads it in use.
RAN: set[Block] = set()


def blocks(document: Path) -> list[Block]:
    name = document.relative_to(ROOT).as_posix()
    found = enumerate(_BLOCK.finditer(document.read_text(encoding="utf-8")))
    return [
        Block(name, number, one["language"], textwrap.dedent(one["text"]), " ".join((one["reason"] or "").split()))
        for number, one in found
    ]


def commands(block: Block) -> list[tuple[str, str]]:
    """Return the commands of a console, each with what it is said to print."""
    return _COMMAND.findall(block.text)


@dataclass(frozen=True)
class Account:
    """What has become of the blocks of some documents."""

    ran: Counter[str]
    shown: int
    not_run: Counter[str]
    forgotten: list[Block]

    def __str__(self) -> str:
        ran = ", ".join(f"{count} {language}" for language, count in sorted(self.ran.items()))
        lines = [f"{sum(self.ran.values())} blocks run ({ran}), {sum(self.not_run.values())} not run:"]
        return "\n".join([*lines, *(f"  {count} {reason}" for reason, count in sorted(self.not_run.items()))])


def account(documents: Iterable[Path]) -> Account:
    """Say what has become of each block of code of these documents, by :data:`RAN`."""
    found = Account(Counter(), 0, Counter(), [])
    for block in (one for document in documents for one in blocks(document)):
        if block.reason:
            found.not_run[block.reason] += 1
        elif block in RAN:
            found.ran[block.language] += 1
        elif block.language not in SHOWN:
            found.forgotten.append(block)
    return found


class Walk:
    """A reader who types what stands in a page, from its first block to its last.

    - Python with ``# name.py`` in its first line is a file of that name; other Python is run as it stands, one block
      after the other in one module, and prints what ``# prints:`` says.
    - TOML with ``# in featurestore.toml`` in its first line is added there; other TOML is a file of its own.
    - Of a console each command prints what stands under it, but for instants and ids; a line ``...`` is for as many as
      you like, and in a line for any words. Of a command with nothing under it the page does not say. Over the block,
      ``<!-- exit code: 2 -->`` is that of its last command. ``$ cd FOLDER`` goes there. With ``&`` a server is started,
      at a port that is free; it goes on until ``$ kill %1``, by its number in the page, or until the walk ends.

    Args:
        folder: where the reader is.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._servers: dict[str, forking.Forked] = {}
        self._addresses: dict[str, str] = {}
        self._module = types.ModuleType("document")

    def __enter__(self) -> Walk:
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers.values():
            self._stop(server)

    def take(self, document: Path) -> None:
        codes = _codes(document)
        for block in blocks(document):
            if block.reason or block.language in SHOWN:
                continue
            getattr(self, f"_{block.language}")(block, codes.get(block.number, 0))
            RAN.add(block)

    def _python(self, block: Block, _: int) -> None:
        if name := re.match(r"# ([\w.]+\.py)\b", block.text):
            (self.folder / name[1]).write_text(block.text, encoding="utf-8")
            return
        said = io.StringIO()
        with contextlib.chdir(self.folder), contextlib.redirect_stdout(said):
            exec(compile(self._here(block.text), block.document, "exec"), vars(self._module))
        assert said.getvalue().splitlines() == re.findall(r"^# prints: (.*)$", block.text, re.MULTILINE)

    def _toml(self, block: Block, _: int) -> None:
        file = self.folder / config.FILE_NAME
        before = file.read_text(encoding="utf-8")
        file.write_text(before + "\n" + block.text if block.text.startswith("# in ") else block.text, encoding="utf-8")
        loaded = config.load(self.folder)
        assert all(loaded.channel(one) for one in loaded.channels)
        if not block.text.startswith("# in "):
            file.write_text(before, encoding="utf-8")

    def _json(self, block: Block, _: int) -> None:
        json.loads(block.text)

    def _console(self, block: Block, code: int) -> None:
        typed = commands(block)
        for number, (command, shown) in enumerate(typed):
            expected = code if number == len(typed) - 1 else 0
            if command.startswith("cd "):
                self.folder = self.folder / command.removeprefix("cd ")
            elif command.startswith("kill %"):
                self._stop(list(self._servers.values())[int(command.removeprefix("kill %")) - 1])
            elif command.endswith(" &"):
                compare(self._start(command.removesuffix(" &")), shown)
            else:
                compare(self._run(self._here(command), expected), shown)

    def _run(self, command: str, code: int) -> str:
        program, *arguments = shlex.split(command)
        assert program in {"featurestore", "python"}, command
        ran = forking.run(
            [sys.executable, *(["-m", program] if program == "featurestore" else []), *arguments],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            env=os.environ | {"COLUMNS": "200"},
        )
        assert ran.returncode == code, f"{command}\n{ran.stdout}"
        return re.sub(r"^\{.*\}\n", "", ran.stdout, flags=re.MULTILINE)  # the log, which a terminal shows otherwise

    def _start(self, command: str) -> str:
        words = shlex.split(command)[1:]
        place = f"127.0.0.1:{words[words.index('--port') + 1]}" if "--port" in words else ADDRESS
        server = forking.Forked(
            [sys.executable, "-m", "featurestore", *words, *("--port", "0")],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._servers[place] = server
        assert server.stdout is not None
        assert select.select([server.stdout], [], [], 60)[0], "the server does not start"
        said = str(server.stdout.readline())
        address = re.search(r"at (\S+:\d+),", said)
        assert address is not None, said
        self._addresses[place] = address[1]
        return said.replace(address[1], place)

    @staticmethod
    def _stop(server: forking.Forked) -> None:
        if server.poll() is None:
            server.terminate()
            server.communicate(timeout=30)

    def _here(self, text: str) -> str:
        for place, address in self._addresses.items():
            text = text.replace(place, address)
        return text


def _codes(document: Path) -> dict[int, int]:
    """Return the exit codes that a document announces, by the number of the block that follows."""
    text = document.read_text(encoding="utf-8")
    starts = [one.start("language") for one in _BLOCK.finditer(text)]
    found = re.finditer(r"^<!-- exit code: (\d+) -->$", text, re.MULTILINE)
    return {next(number for number, at in enumerate(starts) if at > one.start()): int(one[1]) for one in found}


def compare(said: str, shown: str) -> None:
    """Fail if a command has printed something else than a page shows; where that is nothing, it does not say."""
    if not shown.strip():
        return
    pattern = "".join(
        "(?:.*\n)*?" if line == "..." else re.escape(line).replace(r"\.\.\.", ".*") + "\n" for line in _words(shown)
    )
    assert re.fullmatch(pattern, "".join(f"{line}\n" for line in _words(said))), f"{shown}\n--- but it prints\n{said}"


#: What is another one each time, and what stands for it.
_VARIES = (
    (r"\d{4}-\d\d-\d\dT[\d:.]+(Z|\+00:00)", "INSTANT"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?( UTC)?", "INSTANT"),
    (r"\S+@\S+ \(unverified\)", "WHO"),
    (r"\b[0-9a-f]{64}\b|\b[0-9a-f]{32}\b|\b[0-9a-f]{16}\b|\b[0-9a-f]{12}\b", "ID"),
    (r" \(\d+\.\d s\)", ""),
)


def _words(text: str) -> list[str]:
    """Return the words of each line, without what varies and with no regard to the width of columns."""
    for pattern, name in _VARIES:
        text = re.sub(pattern, name, text)
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]
