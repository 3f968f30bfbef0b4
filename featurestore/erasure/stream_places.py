"""Messages of streams that could not become rows."""

from __future__ import annotations

import json

from featurestore.erasure.offline_places import remove_partial
from featurestore.erasure.place import Erased, Task
from featurestore.offline.erasure.erased_keys import plain_text
from featurestore.streaming import Kept, quarantine_of


class StreamedMessages:
    """What streams keep aside; whose it is may be all that could not be read."""

    name = "messages in quarantine"

    def erase(self, task: Task) -> Erased:
        """See :class:`~featurestore.erasure.place.Place`."""
        quarantine = quarantine_of(task.config)
        views = {view.name for view in task.scope.views.values()}
        rows, files = quarantine.without(
            lambda one: one.view.partition("@")[0] in views and _is_theirs(one, task), dry_run=task.dry_run
        )
        return Erased(rows=rows, files=files) + remove_partial(quarantine.partial(), task)


def _is_theirs(one: Kept, task: Task) -> bool:
    """Return whether a message is about one of the keys: by its join keys if it says them, else by any word of it."""
    message = one.poisoned.message
    text = (message.value or b"").decode("utf-8", "replace")
    try:
        said = json.loads(text, parse_float=str, parse_int=str)
    except (ValueError, RecursionError):
        said = None
    if isinstance(said, dict) and all(isinstance(said.get(name), (str, bool)) for name in task.keys.names):
        return tuple(plain_text(said[name]).strip() for name in task.keys.names) in task.keys.rows
    # Written with escapes, a key would not be found in it.
    texts = [text, (message.key or b"").decode("utf-8", "replace")]
    texts += [] if said is None else [json.dumps(said, ensure_ascii=False)]
    return any(task.keys.in_text(each) for each in texts)
