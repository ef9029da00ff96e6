"""How do two lines of work become one, and what is asked when they clash?"""
