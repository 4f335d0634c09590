"""Who you are and what you may do: users, service accounts, signing keys, tokens, audit."""
