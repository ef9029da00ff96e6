"""Which commit turned the result bad, and which changes in it?"""
