"""Mutation sampling: `python -m bench.mutation`. Not a measurement of speed, so `make bench` leaves it alone."""
