"""Serving repositories: over HTTP to many, and over the pipes of one program to one.

What is asked and answered is `tensorvcs.sync.service`. Here are those who ask: their tokens and
rights, the repositories that they may name, the limits, and the log.
"""
