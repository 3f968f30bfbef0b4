"""What importing a statistic costs."""

import subprocess
import sys


def test_the_index_without_interval_needs_no_scipy_and_no_other_needs_more_than_its_functions() -> None:
    program = (
        "import sys, pkgutil, importlib\n"
        "import featurestore.statistics.stability_index\n"
        "assert 'scipy' not in sys.modules\n"
        "import featurestore.statistics as home\n"
        "for one in pkgutil.iter_modules(home.__path__):\n"
        "    importlib.import_module('featurestore.statistics.' + one.name)\n"
        "assert not {'scipy.stats', 'scipy.optimize', 'scipy.spatial'} & set(sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stderr == ""
