"""``python -m featurestore`` is the command ``featurestore``."""

from featurestore.cli import main

main()
