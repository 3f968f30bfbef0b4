"""What a policy would have paged, on profiles that were kept: no row is read again.

| module        | what it does                                                                          |
| ------------- | ------------------------------------------------------------------------------------- |
| ``ledger``    | the windows that were judged, judged by the policy at hand -> pages                   |
| ``nullstream``| blocks of a baseline -> windows in which nothing has changed                          |
| ``achieved``  | false pages among those -> a rate with its bound                                      |
| ``backtest``  | both, for every stream and rule of a policy                                           |
"""

from monitor.backtest.achieved import Achieved
from monitor.backtest.backtest import BacktestReport, StreamReplay, backtest
from monitor.backtest.ledger import Page

__all__ = ["Achieved", "BacktestReport", "Page", "StreamReplay", "backtest"]
