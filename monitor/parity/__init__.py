"""Row-level skew: what was served, against what the point-in-time join gives for the same keys at the same instant.

A difference is a bug in a pipeline; drift without a difference is a change of the world. In a live log the join also
knows rows that had not yet been materialized when the request came, and rows that nobody knew by then: the log says how
new the served row was, and the ledger of loads when each row came, so that both are told apart from bugs, as lag and as
late data. In a replay nothing lags, and every difference is a mismatch.
"""

from monitor.parity.checking import EXAMPLES, check_parity
from monitor.parity.findings import SKEW_RULES, skew_findings
from monitor.parity.report import BUGS, CAUSES, Ages, Cause, Example, FeatureSkew, ParityReport, ViewLag
from monitor.parity.values import EXACT, Tolerance, same_values

__all__ = [
    "BUGS",
    "CAUSES",
    "EXACT",
    "EXAMPLES",
    "SKEW_RULES",
    "Ages",
    "Cause",
    "Example",
    "FeatureSkew",
    "ParityReport",
    "Tolerance",
    "ViewLag",
    "check_parity",
    "same_values",
    "skew_findings",
]
