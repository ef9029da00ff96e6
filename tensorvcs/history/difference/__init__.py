"""How do two versions differ, and by how much?"""
