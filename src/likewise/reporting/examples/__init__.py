"""Sections of the report that show rows of the data."""
