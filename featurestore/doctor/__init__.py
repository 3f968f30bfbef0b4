"""The doctor: looks at everything that a configuration names, and says of each what is wrong and what to do."""

from featurestore.doctor.examining import examine
from featurestore.doctor.finding import Finding, State, fault, warning, well
from featurestore.doctor.patient import Patient

__all__ = ["Finding", "Patient", "State", "examine", "fault", "warning", "well"]
