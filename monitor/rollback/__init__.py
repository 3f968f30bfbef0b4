"""What the monitor may do by itself about an incident, where a policy and ``[actions]`` allow it, and the way back.

An incident is looked at -> what it justifies, by pure rules -> the intent is written down -> it is done -> the outcome
and its messages are written down. What a monitor that died has begun is found by its successor, and finished or told.

| module     | what it does                                                                                       |
| ---------- | -------------------------------------------------------------------------------------------------- |
| ``values`` | an incident as the rules see it, what they propose, an action                                      |
| ``rules``  | which action an incident justifies, and by what evidence; pure                                     |
| ``facts``  | what the rules go by, from the store: loads and their rows, aliases, versions compared             |
| ``ledger`` | actions in the monitor's database                                                                  |
| ``deeds``  | an action done, and undone, through the store                                                      |
| ``acting`` | the whole: considered, begun, done, told, taken up again, undone                                   |
| ``telling`` | an action as a message                                                                            |
| ``openings`` | the alerts of open incidents, as the rules see them                                              |
| ``reviewing`` | all of it at the end of a run                                                                   |
"""

from monitor.rollback.acting import Actions
from monitor.rollback.openings import Opening, openings
from monitor.rollback.reviewing import review
from monitor.rollback.values import Action, ActionState, Deed, Opened, Outlook, Proposal

__all__ = [
    "Action",
    "ActionState",
    "Actions",
    "Deed",
    "Opened",
    "Opening",
    "Outlook",
    "Proposal",
    "openings",
    "review",
]
