"""The command line: train, evaluate, fit, info."""
