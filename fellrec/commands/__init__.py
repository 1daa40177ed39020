"""The ``fellrec`` command's subcommands, a file each; ``fellrec.cli`` is their table of contents."""
