"""How fast is it, in how much memory?"""
