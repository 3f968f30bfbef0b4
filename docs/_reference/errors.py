"""The tree of errors, and each of them."""

from __future__ import annotations

import inspect

from featurestore import errors as tree


def errors() -> str:
    """Return the page: the tree as the module draws it, then the classes."""
    drawn = inspect.cleandoc(tree.__doc__ or "").partition("The tree::\n")[2]
    lines = [line for line in drawn.splitlines() if line.startswith("    ")]
    classes = [
        name
        for name, one in vars(tree).items()
        if isinstance(one, type) and issubclass(one, tree.FeatureStoreError) and one.__module__ == tree.__name__
    ]
    described = "\n".join(f".. autoexception:: featurestore.errors.{name}\n   :show-inheritance:\n" for name in classes)
    return "\n".join(
        ["```text", *(line.removeprefix("    ") for line in lines), "```", "", "```{eval-rst}", described, "```"]
    )
