"""The chapters of a report, one a file: each gives a section, or None where the run has nothing to say."""
