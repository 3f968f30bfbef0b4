"""One run of a policy: the only place that composes.

Watermark -> closed windows -> profile -> evidence -> decision -> alerts -> alerts and signals, and each window's
outcome is committed before the next is read.

| module         | what it does                                                                            |
| -------------- | --------------------------------------------------------------------------------------- |
| ``run``        | one run: the streams of a policy, in turn, each as far as its bound                     |
| ``subjects``   | what stays the same over the windows of a stream: baseline, limits, slices              |
| ``judging``    | one window of one slice -> evidence, decision, what each rule saw; pure, for the backtest too |
| ``renewal``    | a new baseline: what came after its data is judged again                                |
| ``committing`` | one window's outcome, in one transaction                                                |
| ``telling``    | alerts -> messages in the outbox                                                     |
| ``checks``     | quality facts, the comparison with the join, outcomes: what is no distribution          |
"""

from monitor.pipeline.reports import NO_BASELINE, NO_WINDOW, RunReport, ServiceReport
from monitor.pipeline.run import run_once

__all__ = ["NO_BASELINE", "NO_WINDOW", "RunReport", "ServiceReport", "run_once"]
