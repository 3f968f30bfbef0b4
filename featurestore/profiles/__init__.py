"""Rows -> a mergeable profile: how the rows of a window, a day or a training set spread over frozen bins.

Bins are cut once, from exact quantiles of the baseline, and never move with the data they are used on. So profiles are
sums: minutes merge to hours, hosts to a fleet, and every statistic is computed from them without a second look at rows.

What a field's type means here:

| type                                    | cells                                                                      |
| --------------------------------------- | -------------------------------------------------------------------------- |
| Int32, Int64, Float32, Float64, Decimal | between the cuts, NaN, null; an infinity lies beyond every cut             |
| Date, Timestamp                         | as numbers: days, microseconds since 1970                                  |
| Bool, String                            | the most frequent values, other known values, unseen values, null          |
| Bytes, Array, Embedding, Struct         | not null, null                                                             |

A field whose column is missing counts as null in every row: that is what a model would be given.
"""

from featurestore.profiles.baseline import Baseline, fit_baseline
from featurestore.profiles.bins import Bins, FeatureBins, fit_bins
from featurestore.profiles.summary import Profile, merge, profile

__all__ = ["Baseline", "Bins", "FeatureBins", "Profile", "fit_baseline", "fit_bins", "merge", "profile"]
