"""What the monitor knows as one file: for a ticket, or a picture for a chat.

| module       | what it does                                            |
| ------------ | ------------------------------------------------------- |
| ``reading``  | the monitor's database -> one plain value               |
| ``pictures`` | that -> charts                                          |
| ``page``     | that -> one page of HTML, which asks for nothing else   |
"""

from monitor.report.page import page
from monitor.report.pictures import picture
from monitor.report.reading import Report, Series, Story, read_report

__all__ = ["Report", "Series", "Story", "page", "picture", "read_report"]
