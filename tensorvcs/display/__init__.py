"""What a person sees of values: pictures and tables for a notebook and for a terminal.

Knows objects only, so that checkouts and histories can show themselves.
"""
