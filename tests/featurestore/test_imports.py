"""What a program that uses the store, and each process of a server, waits for before it starts."""

import subprocess
import sys


def test_neither_a_store_nor_a_server_loads_what_only_some_questions_need() -> None:
    program = (
        "import sys\n"
        "import featurestore.cli.app, featurestore.serving.worker, featurestore.serving.workers, featurestore.store\n"
        "assert not {'alembic', 'pandas', 'scipy.stats', 'sqlglot'} & set(sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stderr == ""
