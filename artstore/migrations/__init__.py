"""Migrations of what belongs to no app: the message queue's own tables."""
