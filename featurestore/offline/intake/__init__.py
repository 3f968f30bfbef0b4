"""Rows into a table: checked, compared with what came before, kept aside or published."""
