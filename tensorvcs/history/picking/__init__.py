"""How is what a commit did done again elsewhere, or undone?"""
