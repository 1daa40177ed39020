"""Readers: one file for each source's raw form; each returns a data set and a report on what it met."""
