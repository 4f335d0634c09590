"""The forms of the identity pages: what a person types, before a verb judges it."""
