"""The face of fellrec: the ``fellrec`` command. It imports everyone; no one imports it."""
