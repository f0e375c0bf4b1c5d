"""Puts the pieces together and owns the processes: what `tenfold up` runs. Edge."""
