"""Rows -> a mergeable profile: how the rows of a window, a day or a training set spread over frozen bins.

Bins are cut once, from exact quantiles of the baseline, and never move with the data they are used on. So profiles are
sums: minutes merge to hours, hosts to a fleet, and every statistic is computed from them without a second look at rows.
A profile's counts are whole numbers and so is their sum; its moments agree to twelve digits, however rows are split.

What a field's type means here:

| type                      | cells                                                                      |
| ------------------------- | -------------------------------------------------------------------------- |
| Int32, Int64              | between the cuts, as whole numbers: also beyond 2^53 no two are one; null  |
| Float32, Float64, Decimal | between the cuts, NaN, null; an infinity lies beyond every cut             |
| Date, Timestamp           | as whole numbers: days, microseconds since 1970                            |
| Bool, String              | the most frequent values, other known values, unseen values, null          |
| Embedding, Array(numbers) | those of length, norm and places along frozen directions: ``vector.norm``  |
| Bytes, Struct, Array      | not null, null                                                             |

Moments are floats for all types: beyond 2^53 a mean, a minimum and a maximum are rounded, and the cells are not.
A Decimal is rounded to the nearest float for its cell too: two that differ behind the sixteenth digit may share it.

A field whose column is missing counts as null in every row, for that is what a model would be given, and as absent. A
column that cannot be read as the field's type is an error, or counts as null and as mistyped where one asks for that.

Beside a profile there is a bounded sample of the rows themselves (:mod:`~featurestore.profiles.row_sample`).
"""

from featurestore.profiles.baseline import Baseline, side_by_side
from featurestore.profiles.bins import Bins, FeatureBins, fit_bins
from featurestore.profiles.fitting import baseline_of_profiles, fit_baseline
from featurestore.profiles.rhythms import Rhythm
from featurestore.profiles.row_sample import RowSample, merge_samples, sample_rows
from featurestore.profiles.summary import Profile, merge, profile, profile_stream

__all__ = [
    "Baseline",
    "Bins",
    "FeatureBins",
    "Profile",
    "Rhythm",
    "RowSample",
    "baseline_of_profiles",
    "fit_baseline",
    "fit_bins",
    "merge",
    "merge_samples",
    "profile",
    "profile_stream",
    "sample_rows",
    "side_by_side",
]
