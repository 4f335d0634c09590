"""The composition root and the ground floor of the Django program. Imports no app."""

__version__ = "0.1.0"
