"""Tests of the node: real processes over TLS for the doors, the real engine on real disks for the rest."""
