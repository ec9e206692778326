"""Data sets in the form in which their authors publish them, as plain rows."""
