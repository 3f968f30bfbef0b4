"""Versioned definitions, aliases, and the ledgers of what was done with them."""
