"""Who changed a sample, and when?"""
