"""GROMACS as an engine for liquids: files written from the OpenMM System, the program, and a crew that runs it."""
