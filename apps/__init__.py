"""The four houses of the Django program. See docs/architecture.md for who may enter which."""
