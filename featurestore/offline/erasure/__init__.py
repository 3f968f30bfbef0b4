"""Rows of erased people: known by their keys, taken out, and kept out."""
