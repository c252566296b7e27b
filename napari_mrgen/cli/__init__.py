"""The command line: a thin skin over `napari_mrgen.app` and the engine, one file a command group.

Modules here import at the top only what ``--help`` needs; what is heavy, torch above all, is
imported inside the function that runs the command.
"""
