"""Every figure that the project claims, measured beside its baselines in one run.

Terms
-----
subject : a module's worth of measurements, picked by name on the command line.
row : one figure with its baseline and its bar.
bar : what a figure must reach; on the figure itself, or on its ratio to the baseline.
peer : another program measured in the same run; Hangar needs an environment of its own.
"""
