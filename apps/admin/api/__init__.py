"""The REST doors of identity, by what they deal with: credentials, accounts, keys and audit."""
