"""Performance of models with outcomes: join, metrics with intervals, alarms, estimates before outcomes, comparisons.

Everything here is pure but ``reading`` and ``versions``, which ask a feature store.
"""
