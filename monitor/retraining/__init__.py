"""Decision -> a retraining signal that a machine can trust, and the data to train on.

Cause -> gates -> request -> approval -> message -> what receivers say. A cause is kept in the transaction that changes
the alert; whether it may go out is decided afterwards, and what waits says why.

| module        | what it does                                                                       |
| ------------- | ---------------------------------------------------------------------------------- |
| `causes`      | which alerts ask for a new model, which say that something is broken; ids; pure    |
| `considering` | what an alert means for training, kept in its transaction                          |
| `episodes`    | when which alert fired                                                             |
| `standing`    | what asks for a new model as time goes by                                          |
| `gates`       | whether a cause may become a signal now; pure                                      |
| `request`     | what to train on                                                                   |
| `entity_rows` | its rows, as SQL                                                                   |
| `review`      | causes -> signals                                                                  |
| `asking`      | a person asks, agrees, or does not                                                 |
| `sending`     | the event and its messages; `routing` to whom                                      |
| `states`      | where a signal stands, and where it may go; pure                                   |
| `store`       | signals and their events in the monitor's database; `records` are its values        |
| `wording`     | the payload                                                                        |
| `dataset`     | request -> training dataset                                                        |
"""

from monitor.retraining.considering import consider
from monitor.retraining.episodes import accept, ends
from monitor.retraining.overview import overview
from monitor.retraining.review import review

__all__ = ["accept", "consider", "ends", "overview", "review"]
