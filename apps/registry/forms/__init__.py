"""The forms of the registry's pages: a person's way of writing what the verbs take."""
